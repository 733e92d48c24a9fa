-- The epoch as clients see it. A promoted standby, or a restore to a point in time, goes on in another
-- timeline of the write-ahead log, and may lack commits: from then on the timeline is part of the
-- epoch, so that both change at one moment.
create function history_timeline() returns text language plpgsql stable as $$
begin
    return ltrim(substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), '0');
exception
    -- Other servers that speak Postgres' protocol have none.
    when feature_not_supported or insufficient_privilege or undefined_function
        or object_not_in_prerequisite_state then
        return null;
end
$$;

-- The timeline in which the epoch of the table was begun.
alter table deployment add column timeline text;
update deployment set timeline = history_timeline();

create function history_epoch() returns text language sql stable as $$
    select case when here.timeline <> d.timeline then d.epoch || '.' || here.timeline else d.epoch end
    from deployment d, (select history_timeline() as timeline) here
$$;
