-- The one spelling of an account's address, as the program makes it. None: a node of the release before wrote the address, or an
-- older account has it in another spelling. The trigger forgets that of an address that changed.
alter table users add column email_spelling text collate "C";

create function messenger_forget_spelling() returns trigger language plpgsql as $$
begin
    new.email_spelling := null;
    return new;
end
$$;
create trigger users_forget_spelling before update of email_lower on users
    for each row when (new.email_lower is distinct from old.email_lower) execute function messenger_forget_spelling();
