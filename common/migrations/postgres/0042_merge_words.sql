-- The words of new messages wait in the index's list of pending entries, which every search reads. A send that finds the list
-- full merges it inside its own transaction. Nodes merge it before that, and this is when one did last, and up to which message.
create table words_merged (
    only_row boolean primary key default true check (only_row),
    message_id bigint not null,
    merged_at timestamptz not null
);
insert into words_merged (message_id, merged_at) values (0, 'epoch');

-- The more are merged at once, the less each of them costs. Where no node may merge, sends do it as before. No write waits for
-- this lock.
alter index messages_found set (gin_pending_list_limit = 8192);

-- Merges the words that wait if they are those of p_most messages, or if the last time is p_longest ago. Says whether some may
-- wait of the messages that the caller wrote, p_written ago or before. One node merges at a time, the others do not wait for it.
-- Null: the caller's role may not, because it does not own the index.
create function messenger_merge_words_v1(p_most bigint, p_longest interval, p_written interval) returns boolean
language plpgsql volatile as $$
declare
    v_last bigint := (select last_value from messages_id_seq);
    v_now timestamptz := clock_timestamp();
    v_merged timestamptz;
    v_up_to bigint;
    v_index regclass := to_regclass('messages_found');
begin
    select w.merged_at, w.message_id into v_merged, v_up_to from words_merged w;
    if v_merged > v_now - p_written and v_merged <= v_now then
        return false;
    end if;
    -- A copy of the database, or a clock that was set, may leave a mark that is ahead.
    if v_up_to between v_last - p_most + 1 and v_last and v_merged between v_now - p_longest and v_now then
        return true;
    end if;
    perform 1 from words_merged w where w.merged_at = v_merged for no key update skip locked;
    if not found then
        return true;
    end if;
    if not pg_has_role((select c.relowner from pg_class c where c.oid = v_index), 'usage') then
        return null;
    end if;
    perform gin_clean_pending_list(v_index);
    update words_merged set message_id = v_last, merged_at = v_now;
    return false;
end
$$;
