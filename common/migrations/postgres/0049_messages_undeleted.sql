-- no-transaction
create index concurrently if not exists messages_undeleted on messages (chat_id, seq) include (author_id) where deleted_at is null and seq + 0 > 0
