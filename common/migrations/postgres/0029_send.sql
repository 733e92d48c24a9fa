-- The third shape of the send function; nodes of the release before call an earlier one. It keeps the words of each text, and
-- is for many: messenger_send_few_v3 is for a few.
--
-- p_words: the words of the texts, as the program makes them.
-- p_mentions and p_notified: JSON lists of users, none for the most; the outbox names those who are notified. Both are looked up
-- before: those who are no members any more by now are left out of them.
-- outcome: 0 stored, 1 no such chat, 2 not a member, 3 the client's id was used for another text, 4 no such message to reply
-- to, 5 a retry: the columns say the first message, 6 the other user of the private chat blocked the author.
create function messenger_send_v3(
    p_chat bigint[], p_author bigint[], p_text text[], p_client text[], p_digest bigint[], p_reply bigint[],
    p_mentions text[], p_notified text[], p_words text[]
) returns table (
    ord integer, outcome integer, message_id bigint, seq bigint, created_at timestamptz, text text, edited_at timestamptz,
    is_deleted boolean, reply_to_id bigint, pair_low bigint, pair_high bigint, outbox_id bigint, display_name text,
    reactions text, mentions text, mine text
)
language plpgsql volatile
-- The tables are probed by key whatever their statistics say; a plan made while they were small would be kept. One plan serves
-- all batches: to plan this anew for each costs more than to run it.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_ids bigint[];
    v_heads bigint[];
    v_open boolean[];
    v_lows bigint[];
    v_highs bigint[];
begin
    select array_agg(c.id), array_agg(c.seq), array_agg(c.is_open), array_agg(c.pair_low), array_agg(c.pair_high)
    into v_ids, v_heads, v_open, v_lows, v_highs
    from (
        select x.id, x.seq, x.is_group and x.is_public as is_open, x.pair_low, x.pair_high from chats x
        where x.id = any (p_chat) and x.deleted_at is null order by x.id for no key update
    ) c;
    v_now := clock_timestamp();
    return query
    with entry as materialized (
        select e.ord::integer as ord, e.chat_id, e.author_id, e.body, e.client_id, e.digest, e.reply_id,
               e.mentions, e.notified, e.words, m.display_name, c.head, c.pair_low, c.pair_high,
               old.id as old_id, old.seq as old_seq, old.created_at as old_created_at, old.text as old_text,
               old.edited_at as old_edited_at, old.deleted_at is not null as old_deleted, old.reply_to_id as old_reply_to_id,
               old.reactions as old_reactions, old.mentions as old_mentions,
               case
                   when c.id is null then 1
                   when m.user_id is null then case when c.is_open then 2 else 1 end
                   when old.id is not null then
                       case when old.deleted_at is null and old.text_digest is distinct from e.digest then 3 else 5 end
                   when c.pair_low is not null and exists (
                       select from blocks b where b.blocked_id = e.author_id
                       and b.user_id = case when c.pair_low = e.author_id then c.pair_high else c.pair_low end
                   ) then 6
                   when e.reply_id is not null and target.id is null then 4
                   else 0
               end as outcome
        from unnest(p_chat, p_author, p_text, p_client, p_digest, p_reply, p_mentions, p_notified, p_words) with ordinality
             as e (chat_id, author_id, body, client_id, digest, reply_id, mentions, notified, words, ord)
        left join unnest(v_ids, v_heads, v_open, v_lows, v_highs) as c (id, head, is_open, pair_low, pair_high)
             on c.id = e.chat_id
        left join lateral (
            select x.user_id, u.display_name from members x join users u on u.id = x.user_id
            where x.chat_id = e.chat_id and x.user_id = e.author_id limit 1
        ) m on true
        left join lateral (
            select x.id, x.seq, x.created_at, x.text, x.edited_at, x.deleted_at, x.text_digest, x.reply_to_id,
                   x.reactions, x.mentions
            from messages x
            where x.chat_id = e.chat_id and x.author_id = e.author_id and x.client_message_id = e.client_id limit 1
        ) old on e.client_id is not null
        left join lateral (
            -- `+ 0`: by its id; by the index that begins with the chat, all of the chat's messages would be read.
            select x.id from messages x
            where x.id = e.reply_id and x.chat_id + 0 = e.chat_id and x.deleted_at is null limit 1
        ) target on e.reply_id is not null
    ), numbered as materialized (
        select e.ord, e.chat_id, e.author_id, e.body, e.client_id, e.digest, e.reply_id, e.display_name, e.pair_low, e.pair_high,
               e.old_id, e.old_seq, e.old_created_at, e.old_text, e.old_edited_at, e.old_deleted, e.old_reply_to_id,
               e.old_reactions, e.old_mentions, e.outcome, e.words,
               case when e.outcome = 0 and e.mentions is not null then messenger_members_among(e.chat_id, e.mentions) end as mentions,
               case when e.outcome = 0 and e.notified is not null then messenger_members_among(e.chat_id, e.notified) end as notified,
               e.head + count(*) filter (where e.outcome = 0) over (partition by e.chat_id order by e.ord) as seq
        from entry e
    ), stored as (
        insert into messages (chat_id, seq, author_id, text, created_at, client_message_id, text_digest, reply_to_id, mentions,
                              words)
        select n.chat_id, n.seq, n.author_id, n.body, v_now, n.client_id, n.digest, n.reply_id, n.mentions,
               n.words::tsvector
        from numbered n where n.outcome = 0 order by n.chat_id, n.seq
        returning id, chat_id, seq
    ), mentioned as (
        insert into mentions (user_id, chat_id, seq, message_id)
        select u.id::bigint, s.chat_id, s.seq, s.id
        from numbered n join stored s on s.chat_id = n.chat_id and s.seq = n.seq
        cross join lateral json_array_elements_text(n.mentions::json) as u (id)
        where n.outcome = 0 and n.mentions is not null and u.id::bigint <> n.author_id
    ), piece as materialized (
        select n.chat_id, min(n.seq) as first, max(n.seq) as last from numbered n where n.outcome = 0 group by n.chat_id
    ), moved as (
        update chats c set seq = p.last, active_at = v_now from piece p where c.id = p.chat_id
    ), author_read as (
        update members m set read_seq = a.last
        from (select n.chat_id, n.author_id, max(n.seq) as last from numbered n where n.outcome = 0 group by 1, 2) a
        where m.chat_id = a.chat_id and m.user_id = a.author_id
    ), told as (
        insert into outbox (size, payload)
        select sum(p.last - p.first + 1),
               json_build_object('events', json_agg(json_build_array(p.chat_id, p.first, p.last)), 'notices', '[]'::json,
                   'mentioned', coalesce((
                       select json_agg(json_build_array(n.chat_id, n.seq, n.notified::json))
                       from numbered n where n.outcome = 0 and n.notified is not null
                   ), '[]'::json))
        from piece p having count(*) > 0
        returning id
    )
    select n.ord, n.outcome, coalesce(s.id, n.old_id), coalesce(s.seq, n.old_seq), coalesce(n.old_created_at, v_now), n.old_text,
           n.old_edited_at, n.old_deleted, n.old_reply_to_id, n.pair_low, n.pair_high, (select t.id from told t),
           n.display_name, n.old_reactions, coalesce(n.old_mentions, n.mentions),
           case when n.old_reactions is not null then (
               select json_agg(r.emoji)::text from reactions r where r.message_id = n.old_id and r.user_id = n.author_id
           ) end
    from numbered n
    left join stored s on n.outcome = 0 and s.chat_id = n.chat_id and s.seq = n.seq
    order by n.ord;
end
$$;
