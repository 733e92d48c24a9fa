-- no-transaction
create index concurrently if not exists users_to_spell on users (id) where email_spelling is null
