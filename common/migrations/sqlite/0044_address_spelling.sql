-- The one spelling of an account's address, as the program makes it. None: an older release wrote the address, or an older account
-- has it in another spelling. The trigger forgets that of an address that changed.
alter table users add column email_spelling text;
create unique index users_spelling_key on users (email_spelling);
create index users_to_spell on users (id) where email_spelling is null;
create trigger users_forget_spelling after update of email_lower on users when new.email_lower is not old.email_lower begin
    update users set email_spelling = null where id = old.id;
end;
