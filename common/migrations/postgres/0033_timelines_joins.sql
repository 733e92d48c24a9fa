-- The timelines of the write-ahead log in which nodes met this database as the primary, each with a mark of its own. A replica
-- that has the primary's mark follows its history, and no other branch of it.
create table timelines (
    timeline text primary key,
    mark text not null default replace(gen_random_uuid()::text, '-', '')
);

-- Lets a user into a public group in one round trip: joins of a group wait for each other, and sends to it wait with them, for
-- as long as its row is locked. A later release that needs another shape adds messenger_join_v2.
--
-- outcome: 0 joined, 1 no such chat, 2 a member already, 3 full, 4 the account is not active, 5 nobody who is active owns the
-- group: the change of many statements finds an heir.
create function messenger_join_v1(
    p_chat bigint, p_user bigint, p_most bigint,
    out outcome integer, out seq bigint, out joined_at timestamptz, out username text, out outbox_id bigint
)
language plpgsql volatile
-- The tables are probed by key whatever their statistics say.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_is_open boolean;
    v_members bigint;
begin
    outcome := 1;
    select c.seq + 1, c.is_group and c.is_public, c.member_count into seq, v_is_open, v_members
    from chats c where c.id = p_chat and c.deleted_at is null for no key update;
    joined_at := clock_timestamp();
    if not found then
        return;
    end if;
    -- A statement of its own sees what was committed while the first waited for the lock.
    perform 1 from members m where m.chat_id = p_chat and m.user_id = p_user;
    if found then
        outcome := 2;
        return;
    end if;
    if not v_is_open then
        return;
    end if;
    if v_members >= p_most then
        outcome := 3;
        return;
    end if;
    perform 1 from members o join users a on a.id = o.user_id
    where o.chat_id = p_chat and o.user_id <> p_user and o.role = 1 and a.is_active limit 1;
    if not found then
        outcome := 5;
        return;
    end if;
    select u.username into username from users u where u.id = p_user and u.is_active;
    if not found then
        outcome := 4;
        return;
    end if;
    outcome := 0;
    insert into members (chat_id, user_id, role, joined_at, read_seq)
    values (p_chat, p_user, 2, messenger_join_v1.joined_at, messenger_join_v1.seq);
    insert into events (chat_id, seq, kind, user_id, role, created_at)
    values (p_chat, messenger_join_v1.seq, 4, p_user, 2, messenger_join_v1.joined_at);
    update chats c set seq = messenger_join_v1.seq, member_count = v_members + 1 where c.id = p_chat;
    insert into outbox (size, payload)
    values (2, format('{"events":[[%s,%s,%s]],"notices":[{"kind":"added","chat":%s,"seq":%s,"users":[%s]}]}',
                      p_chat, messenger_join_v1.seq, messenger_join_v1.seq, p_chat, messenger_join_v1.seq, p_user)::json)
    returning id into outbox_id;
end
$$;
