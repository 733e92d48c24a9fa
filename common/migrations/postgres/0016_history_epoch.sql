-- The epoch as clients see it. A promoted standby, or a restore to a point in time, goes on in another
-- timeline of the write-ahead log, and may lack commits: its number is part of the epoch, so that
-- both change at one moment. Where the server does not say (other servers that speak Postgres'
-- protocol), the epoch is what the table has.
create function history_epoch() returns text language plpgsql stable as $$
declare
    timeline text;
begin
    timeline := ltrim(substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), '0');
    return (select case timeline when '1' then epoch else epoch || '.' || timeline end from deployment);
exception
    when feature_not_supported or insufficient_privilege or undefined_function
        or object_not_in_prerequisite_state then
        return (select epoch from deployment);
end
$$;
