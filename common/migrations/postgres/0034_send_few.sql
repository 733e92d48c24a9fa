-- Sends a few: as messenger_send_v3 does, with its outcomes, but one after the other in simple statements. One statement for all
-- takes three times as long to start as a message takes here, so that it gains only where there are many.
--
-- The first statement locks the chats in the order of their ids; those after it see everything that is committed in them. A
-- batch of one is locked by its own statement. The outbox gets one row for all, under the id that each stored message bears.
create function messenger_send_few_v3(
    p_chat bigint[], p_author bigint[], p_text text[], p_client text[], p_digest bigint[], p_reply bigint[],
    p_mentions text[], p_notified text[], p_words text[]
) returns table (
    ord integer, outcome integer, message_id bigint, seq bigint, created_at timestamptz, text text, edited_at timestamptz,
    is_deleted boolean, reply_to_id bigint, pair_low bigint, pair_high bigint, outbox_id bigint, display_name text,
    reactions text, mentions text, mine text
)
language plpgsql volatile
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_open boolean;
    v_notified text;
    v_events text;
    v_told text;
    v_size integer := 0;
    v_old record;
    v_seq bigint;
    v_outbox bigint;
begin
    if cardinality(p_chat) > 1 then
        perform 1 from chats c where c.id = any (p_chat) and c.deleted_at is null order by c.id for no key update;
    end if;
    for i in 1 .. cardinality(p_chat) loop
        ord := i;
        outcome := 1;
        message_id := null;
        text := null;
        edited_at := null;
        is_deleted := false;
        reply_to_id := null;
        outbox_id := null;
        display_name := null;
        reactions := null;
        mentions := null;
        mine := null;
        select c.seq + 1, c.is_group and c.is_public, c.pair_low, c.pair_high into seq, v_open, pair_low, pair_high
        from chats c where c.id = p_chat[i] and c.deleted_at is null for no key update;
        if v_now is null then
            v_now := clock_timestamp();
        end if;
        created_at := v_now;
        if not found then
            return next;
            continue;
        end if;
        select u.display_name into display_name
        from members m join users u on u.id = m.user_id where m.chat_id = p_chat[i] and m.user_id = p_author[i];
        if not found then
            outcome := case when v_open then 2 else 1 end;
            return next;
            continue;
        end if;
        if p_client[i] is not null then
            select x.id, x.seq, x.created_at, x.text, x.edited_at, x.deleted_at, x.text_digest, x.reply_to_id,
                   x.reactions, x.mentions into v_old
            from messages x
            where x.chat_id = p_chat[i] and x.author_id = p_author[i] and x.client_message_id = p_client[i];
            if found then
                outcome := case when v_old.deleted_at is null and v_old.text_digest is distinct from p_digest[i] then 3 else 5 end;
                message_id := v_old.id;
                seq := v_old.seq;
                created_at := v_old.created_at;
                text := v_old.text;
                edited_at := v_old.edited_at;
                is_deleted := v_old.deleted_at is not null;
                reply_to_id := v_old.reply_to_id;
                reactions := v_old.reactions;
                mentions := v_old.mentions;
                if reactions is not null then
                    mine := (select json_agg(r.emoji)::text from reactions r
                             where r.message_id = v_old.id and r.user_id = p_author[i]);
                end if;
                return next;
                continue;
            end if;
        end if;
        if pair_low is not null then
            perform 1 from blocks b
            where b.user_id = case when pair_low = p_author[i] then pair_high else pair_low end and b.blocked_id = p_author[i];
            if found then
                outcome := 6;
                return next;
                continue;
            end if;
        end if;
        if p_reply[i] is not null then
            perform 1 from messages x where x.id = p_reply[i] and x.chat_id + 0 = p_chat[i] and x.deleted_at is null;
            if not found then
                outcome := 4;
                return next;
                continue;
            end if;
        end if;
        outcome := 0;
        v_notified := null;
        if p_mentions[i] is not null then
            mentions := messenger_members_among(p_chat[i], p_mentions[i]);
            v_notified := messenger_members_among(p_chat[i], p_notified[i]);
        end if;
        v_seq := seq;
        insert into messages (chat_id, seq, author_id, text, created_at, client_message_id, text_digest, reply_to_id, mentions,
                              words)
        values (p_chat[i], v_seq, p_author[i], p_text[i], v_now, p_client[i], p_digest[i], p_reply[i],
                messenger_send_few_v3.mentions, p_words[i]::tsvector)
        returning id into message_id;
        update chats c set seq = v_seq, active_at = v_now where c.id = p_chat[i];
        update members m set read_seq = v_seq where m.chat_id = p_chat[i] and m.user_id = p_author[i];
        if mentions is not null then
            insert into mentions (user_id, chat_id, seq, message_id)
            select u.id::bigint, p_chat[i], v_seq, messenger_send_few_v3.message_id
            from json_array_elements_text(messenger_send_few_v3.mentions::json) as u (id) where u.id::bigint <> p_author[i];
        end if;
        v_size := v_size + 1;
        v_events := concat_ws(',', v_events, format('[%s,%s,%s]', p_chat[i], v_seq, v_seq));
        if v_notified is not null then
            v_told := concat_ws(',', v_told, format('[%s,%s,%s]', p_chat[i], v_seq, v_notified));
        end if;
        v_outbox := coalesce(v_outbox, nextval('outbox_id_seq'));
        outbox_id := v_outbox;
        return next;
    end loop;
    if v_size > 0 then
        insert into outbox (id, size, payload) overriding system value
        values (v_outbox, v_size, case when v_told is null then format('{"events":[%s],"notices":[]}', v_events)
            else format('{"events":[%s],"notices":[],"mentioned":[%s]}', v_events, v_told) end::json);
    end if;
end
$$;
