-- The users whom an event notifies beside those that it names itself, as JSON: the members of a deleted chat. And when a
-- member's own view of the chat changed last. A gateway that did not hear the bus reads both.
alter table events add column notified text;
alter table members add column settings_at integer;
create index members_settings on members (settings_at) where settings_at is not null;
