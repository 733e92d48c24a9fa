-- The node's last connection of these users went.
--
-- ARGV[3]  the node
-- ARGV[4]  the grace, ms
-- ARGV[5]  1 where the bucket may have lost what it knew of these users, else 0
-- ARGV[6…] the users
if tonumber(ARGV[4]) > tonumber(call('HGET', state, 'grace') or '0') then call('HSET', state, 'grace', ARGV[4]) end

compare_anew(ARGV[3])

local function begin_grace(user)
    call('ZADD', grace, now + tonumber(ARGV[4]), user)
    call('HSET', gone, user, now)
end

for i = 6, #ARGV do
    local user = ARGV[i]
    local nodes = call('HGET', held, user)
    call('SREM', bucket .. ':n:' .. ARGV[3], user)
    if nodes then
        local others = without(nodes, ARGV[3])
        if others == '' then
            call('HDEL', held, user)
            begin_grace(user)
        elseif others ~= nodes then
            call('HSET', held, user, others)
        end
    elseif (healing or ARGV[5] == '1') and call('ZADD', online, 'NX', user, user) == 1 then
        -- Forgotten when the bucket was emptied, and gone since: still to be told offline, once.
        call('HSET', since, user, now)
        begin_grace(user)
    end
end
return answer
