-- The newest messages below p_before with all these words in a user's chats, by id. One call reads a bounded number of rows and
-- asks the index a bounded number of times, however frequent the words are: where that ended the search, `below` says from where
-- a further page goes on.
--
-- A sample over all times says how frequent each term is. Where the whole question is frequent, the newest messages are read
-- until the page is full. The index answers what is rarer, in one stretch of ids after another from the newest, each as wide
-- as it may be. The index reads all entries of a beginning, wherever they are: a term that begins much is left to be compared
-- with what the others find. A user of few chats has them in the question to the index, so that only theirs are read.
create function messenger_search_v2(
    p_user bigint, p_terms tsquery[], p_chat bigint, p_author bigint, p_before bigint, p_limit bigint,
    out ids bigint[], out below bigint
)
language plpgsql stable
-- As for the sends: the same plan whatever the statistics say.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    -- Up to so many chats are part of the question to the index, and up to so many comparisons of its entries with theirs.
    c_few constant bigint := 200;
    c_compared constant bigint := 2000000;
    -- Rows of the sample. Fewer messages in all are simply read.
    c_sample constant bigint := 512;
    -- Messages that one call finds by the index, and entries of beginnings that it reads.
    c_found constant bigint := 8000;
    c_begun constant bigint := 8000;
    -- A question to the index costs as much as so many messages, whatever it finds; one stretch of ids that it names, as a
    -- quarter; one message that has a word of several, or the word in another chat, as a sixteenth.
    c_question constant bigint := 250;
    -- So many stretches are named in one: entries that wait to join the index are compared with each. Words that are likely to
    -- be rare in more of them are asked for everywhere.
    c_wide constant bigint := 64;
    c_everywhere constant bigint := 512;
    -- On a slow server the time ends the page first.
    c_longest constant interval := '600 milliseconds';
    -- Messages that one call reads in their order: of the user's few chats, before the index is asked and where it is not, and
    -- of all.
    c_first constant bigint := 1000;
    c_own constant bigint := 10000;
    c_all constant bigint := 24000;
    v_query tsquery := p_terms[1];
    v_parts tsquery[];
    v_asked tsquery[];
    v_chats bigint[];
    v_tops bigint[];
    v_mine bigint[];
    v_keys bigint[];
    v_total bigint;
    v_last bigint;
    v_top bigint;
    v_low bigint;
    v_hits bigint[];
    v_likely bigint;
    v_begun bigint := 0;
    v_count bigint;
    v_most bigint;
    v_width bigint;
    v_widest bigint;
    v_seen bigint := 0;
    v_found bigint[];
begin
    ids := '{}';
    for i in 2 .. cardinality(p_terms) loop
        v_query := v_query && p_terms[i];
    end loop;
    select coalesce(max(m.id), 0) into v_last from messages m;
    v_top := least(v_last, p_before - 1);
    v_total := v_last;
    v_chats := array(
        select m.chat_id from members m where m.user_id = p_user and (p_chat is null or m.chat_id = p_chat) limit c_few + 1
    );
    if cardinality(v_chats) > c_few then
        v_chats := null;
    else
        select array_agg(c.id), array_agg(c.seq), array_agg(-c.id), coalesce(sum(c.seq), 0)
        into v_chats, v_tops, v_mine, v_total
        from unnest(v_chats) as me (id)
        cross join lateral (select x.id, x.seq from chats x where x.id = me.id and x.deleted_at is null limit 1) c;
    end if;
    if v_total = 0 or v_top <= 0 then
        return;
    end if;

    if v_total > c_sample then
        -- Single words: the index does not know where in a text they stand. Some of very many are enough to ask it for.
        v_parts := array(
            select distinct p.word from unnest(p_terms) as t (term)
            cross join lateral regexp_split_to_table(replace(t.term::text, '<->', '&'), ' & ') as p (word) limit 16
        )::tsquery[];
        v_hits := array(
            select count(*) filter (where x.words @@ t.term)
            from generate_series(1, c_sample / 8) as p (n)
            cross join lateral (
                select m.words from messages m where m.id <= v_last * p.n / (c_sample / 8) order by m.id desc limit 8
            ) x
            cross join unnest(array_prepend(v_query, v_parts)) with ordinality as t (term, ord)
            group by t.ord order by t.ord
        );
        for i in 1 .. cardinality(v_parts) loop
            v_count := greatest(v_last * greatest(v_hits[i + 1] * 2, 1) / (c_sample * 2), 1);
            if strpos(v_parts[i]::text, ''':*') > 0 then
                continue when v_begun + v_count > c_begun;
                v_begun := v_begun + v_count;
            end if;
            v_asked := v_asked || v_parts[i];
            v_likely := least(v_likely, v_count);
        end loop;
        -- So many messages in their order are likely to fill the page.
        v_count := p_limit * c_sample * 2 / nullif(v_hits[1], 0);
        if v_chats is not null then
            v_likely := least(v_likely, v_total);
            if v_likely * cardinality(v_chats) > c_compared then
                v_asked := null;
            end if;
        end if;
    end if;

    if v_chats is not null and (v_asked is null or v_count <= c_first * 2) then
        v_most := case when v_asked is null then c_own else c_first end;
        -- The last number of each chat below the page's beginning: ids and numbers grow alike.
        if v_top < v_last then
            with recursive step (chat, low, high) as (
                select c.id, 0::bigint, c.top from unnest(v_chats, v_tops) as c (id, top)
                union all
                select s.chat, case when m.id <= v_top then s.middle else s.low end,
                       case when m.id <= v_top then s.high else s.middle - 1 end
                from (select chat, low, high, low + (high - low + 1) / 2 as middle from step where low < high) s
                left join lateral (
                    select x.id from messages x where x.chat_id = s.chat and x.seq >= s.middle order by x.seq limit 1
                ) m on true
            )
            select array_agg(s.chat), array_agg(s.low) into v_chats, v_tops from step s where s.low >= s.high and s.low > 0;
        end if;
        v_width := greatest(least(coalesce(v_count, 2000), v_most) / greatest(cardinality(v_chats), 1), 8);
        while cardinality(v_chats) > 0 and v_seen < v_most loop
            -- The newest of each chat. Below the newest of their last ones, some of another chat may lack.
            with taken as materialized (
                select c.id as chat, x.seq, x.id, x.is_found
                from unnest(v_chats, v_tops) as c (id, top)
                cross join lateral (
                    select m.seq, m.id, m.words @@ v_query and (p_author is null or m.author_id = p_author) as is_found
                    from messages m where m.chat_id = c.id and m.seq <= c.top order by m.seq desc limit v_width
                ) x
            ), edge as materialized (
                select coalesce(max(o.id), 0) as id
                from (select min(t.id) as id from taken t group by t.chat having count(*) = v_width) o
            ), rest as materialized (
                select t.chat, coalesce(max(t.seq) filter (where t.id < e.id), min(t.seq) - 1) as top
                from taken t cross join edge e where e.id > 0
                group by t.chat having count(*) = v_width or bool_or(t.id < e.id)
            )
            select array(
                       select t.id from taken t cross join edge e where t.is_found and t.id >= e.id
                       order by t.id desc limit p_limit - cardinality(ids)
                   ),
                   e.id, (select count(*) from taken), (select array_agg(r.chat) from rest r), (select array_agg(r.top) from rest r)
            into v_found, v_low, v_count, v_chats, v_tops
            from edge e;
            ids := ids || v_found;
            if v_low = 0 or cardinality(ids) >= p_limit then
                return;
            end if;
            v_top := v_low - 1;
            v_seen := v_seen + v_count;
            v_width := least(v_width * 3, (v_most - v_seen) / cardinality(v_chats) + 8);
        end loop;
        if v_low is null or v_asked is null then
            below := v_low;
            return;
        end if;
        v_likely := greatest(least(v_likely, v_total * (cardinality(ids) + 1) / v_seen), 1);
        v_seen := 0;
    elsif v_asked is null then
        v_width := least(greatest(v_count, 2000), c_all);
        while v_seen < c_all loop
            with walked as materialized (
                select m.id, m.chat_id,
                       m.words @@ v_query and (p_author is null or m.author_id = p_author) as is_found
                from messages m where m.id <= v_top order by m.id desc limit v_width
            )
            select array(
                       select w.id from walked w
                       where w.is_found and (
                           select exists (select from chats c where c.id = me.chat_id and c.deleted_at is null)
                           from members me where me.chat_id = w.chat_id and me.user_id = p_user
                       )
                       order by w.id desc limit p_limit - cardinality(ids)
                   ),
                   (select min(w.id) from walked w), (select count(*) from walked)
            into v_found, below, v_count;
            ids := ids || v_found;
            if v_count < v_width or cardinality(ids) >= p_limit then
                below := null;
                return;
            end if;
            v_top := below - 1;
            v_seen := v_seen + v_width;
            v_width := least(v_width * 3, c_all - v_seen);
        end loop;
        return;
    end if;

    v_widest := greatest(c_found * (v_last >> 13) / v_likely, 1);
    if v_widest <= c_everywhere then
        v_widest := least(v_widest, c_wide);
    end if;
    v_width := case when v_likely <= c_found / 2 then v_widest else 1 end;
    while v_top > 0 and cardinality(ids) < p_limit loop
        -- The index compares the stretches first and each word by itself: it reads no entries of other stretches.
        v_low := case when v_width <= c_wide then greatest(((v_top >> 13) - v_width + 1) << 13, 0) else 0 end;
        v_keys := case when v_width <= c_wide then array(select k from generate_series(v_low >> 13, v_top >> 13) as k) end;
        v_most := case when v_width > c_wide then c_found / 2 when v_width > 1 then c_found / 8 end;
        execute
            'with found as materialized (
                 select m.id, m.chat_id, m.author_id, m.words from messages m
                 where m.words is not null'
            || (select string_agg(' and m.words @@ $1[' || i || ']', '') from generate_subscripts(v_asked, 1) as i)
            || case when v_keys is not null then ' and array[m.id >> 13, -m.chat_id] && $2' else '' end
            || case when v_chats is not null then ' and array[m.id >> 13, -m.chat_id] && $3' else '' end || '
                 limit $9
             ), mine as (
                 select f.id from found f
                 where f.id <= $4 and ($5 is null or f.author_id = $5) and f.words @@ $6'
            || case when v_chats is not null then '' else '
                 and (
                     select exists (select from chats c where c.id = me.chat_id and c.deleted_at is null)
                     from members me where me.chat_id = f.chat_id and me.user_id = $7
                 )' end || '
                 order by f.id desc limit $8
             )
             select array(select id from mine), (select count(*) from found)'
        into v_found, v_count
        using v_asked, v_keys, v_mine, v_top, p_author, v_query, p_user, p_limit - cardinality(ids),
            v_most;
        v_seen := v_seen + greatest(v_count, c_question + coalesce(cardinality(v_keys), 0) / 4);
        if cardinality(v_asked) > 1 or v_chats is not null then
            v_seen := v_seen + least(v_width, v_last >> 13) * greatest(v_likely / ((v_last >> 13) + 1), 1) / 16;
        end if;
        -- Cut off at the wrong end: the words are frequent here. A single stretch is never cut off, so that each page ends below
        -- where it began.
        if v_count >= v_most then
            v_width := case when v_seen < c_found then greatest(least(v_width, (v_top >> 13) + 1, c_wide * 4) / 8, 1) else 1 end;
            v_widest := v_width;
            continue;
        end if;
        ids := ids || v_found;
        -- The next message may be far below.
        select coalesce(max(m.id), 0) into v_top from messages m where m.id < v_low;
        if v_seen >= c_found or clock_timestamp() > statement_timestamp() + c_longest then
            below := case when v_top > 0 and cardinality(ids) < p_limit then v_top + 1 end;
            return;
        end if;
        -- Frequent words may be rare again from here on.
        v_widest := greatest(v_widest, least(v_widest * 2, c_wide));
        v_width := least(v_width * greatest(least(c_found / 16 / greatest(v_count, 1), 8), 1), v_widest);
    end loop;
end
$$;

-- For nodes that know the first shape: none of their pages goes on where one ended early.
create or replace function messenger_search_v1(
    p_user bigint, p_query tsquery, p_chat bigint, p_author bigint, p_before bigint, p_limit bigint
) returns setof bigint language plpgsql stable rows 50 as $$
declare
    v_below bigint := p_before;
    v_left bigint := p_limit;
    v_ids bigint[];
begin
    for i in 1 .. 5 loop
        select s.ids, s.below into v_ids, v_below
        from messenger_search_v2(p_user, array[p_query], p_chat, p_author, v_below, v_left) s;
        return query select f.id from unnest(v_ids) with ordinality as f (id, ord) order by f.ord;
        v_left := v_left - cardinality(v_ids);
        exit when v_below is null or v_left <= 0 or clock_timestamp() > statement_timestamp() + interval '1 second';
    end loop;
end
$$;
-- The index of before, which nothing else asks.
drop index messages_words;
