-- When a member's own view of the chat changed last: a gateway that did not hear the bus reads what changed.
alter table members add column settings_at timestamptz;
