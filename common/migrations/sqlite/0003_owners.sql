-- Whether a group has an owner left, and who: of a hundred thousand members a few.
create index members_owner on members (chat_id) where role = 1;
