-- The words of a message's text, as the program folds them: a locale of the server would fold them otherwise. None: they are
-- still to be made. Nodes of the release before store none, and the trigger forgets those of a text that changed.
alter table messages add column words tsvector;

create function messenger_forget_words() returns trigger language plpgsql as $$
begin
    new.words := null;
    return new;
end
$$;
create trigger messages_forget_words before update of text on messages
    for each row when (new.text is distinct from old.text) execute function messenger_forget_words();

-- The newest messages with these words in a user's chats, by id, below p_before.
--
-- A user of few messages: theirs are read. Otherwise the index is asked for the words of all chats in one stretch of ids after
-- another, from the newest, until enough of the user's own are found. So a frequent word ends it early, and a rare one has few
-- messages everywhere. The index knows each message's stretch of 8,192 ids.
create function messenger_search_v1(
    p_user bigint, p_query tsquery, p_chat bigint, p_author bigint, p_before bigint, p_limit bigint
) returns setof bigint
language plpgsql stable rows 50
-- As for the sends: the same plan whatever the statistics say.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    -- The user's chats, if they are few.
    v_chats bigint[];
    v_total bigint;
    v_top bigint;
    v_low bigint;
    v_width bigint := 1;
    v_seen bigint := 0;
    v_ids bigint[];
    v_left bigint := p_limit;
    v_keys bigint[];
begin
    select array_agg(c.id), coalesce(sum(c.seq), 0) into v_chats, v_total
    from (
        select m.chat_id from members m where m.user_id = p_user and (p_chat is null or m.chat_id = p_chat) limit 201
    ) me
    cross join lateral (select x.id, x.seq from chats x where x.id = me.chat_id and x.deleted_at is null limit 1) c;
    if cardinality(v_chats) > 200 then
        v_chats := null;
        select max(m.id) into v_top from messages m;
    elsif v_total <= 10000 then
        return query
            select f.id from unnest(v_chats) as c (id)
            cross join lateral (
                select x.id from (
                    select m.id, m.words, m.author_id from messages m where m.chat_id = c.id order by m.seq desc offset 0
                ) x
                where x.words @@ p_query and x.id < p_before and (p_author is null or x.author_id = p_author)
                limit p_limit
            ) f
            order by f.id desc limit p_limit;
        return;
    else
        select max(l.id) into v_top from unnest(v_chats) as c (id)
        cross join lateral (select m.id from messages m where m.chat_id = c.id order by m.seq desc limit 1) l;
    end if;
    v_top := least(v_top, p_before - 1);
    while v_top > 0 and v_left > 0 loop
        v_low := greatest(((v_top >> 13) - v_width + 1) << 13, 0);
        v_keys := array(select k from generate_series(v_low >> 13, v_top >> 13) as k);
        if v_chats is null then
            v_ids := array(
                with found as materialized (
                    select m.id, m.chat_id, m.author_id from messages m
                    where m.words is not null and m.words @@ p_query and array[m.id >> 13] && v_keys
                )
                select f.id from found f
                where f.id between v_low and v_top and (p_author is null or f.author_id = p_author)
                and (
                    select exists (select from chats c where c.id = me.chat_id and c.deleted_at is null)
                    from members me where me.chat_id = f.chat_id and me.user_id = p_user
                )
                order by f.id desc limit v_left
            );
        else
            v_ids := array(
                with found as materialized (
                    select m.id, m.chat_id, m.author_id from messages m
                    where m.words is not null and m.words @@ p_query and array[m.id >> 13] && v_keys
                )
                select f.id from found f
                where f.chat_id = any (v_chats) and f.id between v_low and v_top
                and (p_author is null or f.author_id = p_author)
                order by f.id desc limit v_left
            );
        end if;
        return query select i from unnest(v_ids) as i;
        v_seen := v_seen + (v_top >> 13) - (v_low >> 13) + 1;
        v_left := v_left - cardinality(v_ids);
        -- As wide as it would have to be to find the rest, if the words are as frequent there.
        v_width := least(greatest(
            case when v_left < p_limit then v_left * v_seen * 3 / (2 * (p_limit - v_left)) else v_width * 8 end,
            v_width), v_width * 8, 512);
        v_top := v_low - 1;
    end loop;
end
$$;
