-- The epoch as clients see it, as before. Each question for a member's rights asks for it, and a function in SQL is planned
-- anew each time: that took three times as long as the rest of the question.
create or replace function history_epoch() returns text language plpgsql stable as $$
declare
    here text := history_timeline();
begin
    return (select case when here <> d.timeline then d.epoch || '.' || here else d.epoch end from deployment d);
end
$$;
