-- no-transaction
create index concurrently if not exists chats_to_forget on chats (id) where erased and (name <> '' or description is not null);
