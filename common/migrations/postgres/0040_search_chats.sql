-- no-transaction
create index concurrently if not exists messages_found on messages using gin ((array[id >> 13, -chat_id]), words) with (gin_pending_list_limit = 1024) where words is not null
