-- no-transaction
create index concurrently if not exists members_settings on members (settings_at) where settings_at is not null;
