-- no-transaction
create unique index concurrently if not exists users_spelling_key on users (email_spelling) where email_spelling is not null
