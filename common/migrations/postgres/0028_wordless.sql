-- no-transaction
create index concurrently if not exists messages_wordless on messages (id) where words is null and deleted_at is null
