-- The emoji of a reaction's event, and how many had it then.
alter table events add column emoji text, add column emoji_count bigint;

create or replace view log as
    select chat_id, seq, 1::smallint as kind, id as message_id, null::bigint as user_id, null::smallint as role, created_at,
           null::text as emoji, null::bigint as emoji_count
    from messages
    union all
    select chat_id, seq, kind, message_id, user_id, role, created_at, emoji, emoji_count from events;
