-- A key of the bucket may be lost by itself, evicted for want of memory. The others still say what
-- it was. Each user online is held by a node or in grace, and nothing else is online: that is asked
-- at each sweep, and mended. What is lost beyond that the nodes bring back: they see a new epoch.
--
-- `leases` bears a node that never ends, '*': without it the key was lost, whatever nodes have
-- renewed since.

local function is_torn()
    local all = call('ZCARD', online)
    if call('HLEN', since) ~= all or call('HLEN', held) + call('ZCARD', grace) ~= all then return true end
    if call('ZADD', leases, 'NX', '+inf', '*') == 0 then return false end
    return call('HSET', state, 'watched', 1) == 0
end

-- Returns how many users it looked at.
local function mend()
    local nodes = {}
    local all = call('HGETALL', held)
    for i = 1, #all, 2 do
        for node in string.gmatch(all[i + 1], '[^,]+') do
            nodes[node] = true
            call('SADD', bucket .. ':n:' .. node, all[i])
        end
    end
    for node in pairs(nodes) do call('ZADD', leases, 'NX', now + lease, node) end
    for _, node in ipairs(call('ZRANGEBYSCORE', leases, '-inf', '(+inf')) do
        compare_anew(node)
        for _, user in ipairs(call('SMEMBERS', bucket .. ':n:' .. node)) do
            local by = call('HGET', held, user)
            if not by then
                call('HSET', held, user, node)
            elseif not is_among(by, node) then
                call('HSET', held, user, by .. ',' .. node)
            end
        end
    end
    for _, user in ipairs(call('HKEYS', held)) do
        call('ZADD', online, user, user)
        call('ZREM', grace, user)
        call('HDEL', gone, user)
    end
    for _, user in ipairs(call('HKEYS', gone)) do call('ZADD', grace, 'NX', now + lease, user) end
    for _, user in ipairs(call('ZRANGE', grace, 0, -1)) do call('ZADD', online, user, user) end
    for _, user in ipairs(call('HKEYS', since)) do call('ZADD', online, user, user) end
    for _, user in ipairs(call('ZRANGE', online, 0, -1)) do
        call('HSETNX', since, user, now)
        if call('HEXISTS', held, user) == 0 and call('ZADD', grace, 'NX', now + lease, user) == 1 then call('HSETNX', gone, user, now) end
    end
    epoch = time[1] .. '.' .. time[2]
    call('HSET', state, 'epoch', epoch, 'healing', now + lease)
    answer[1], healing = epoch .. ' ' .. decisions, true
    return call('ZCARD', online)
end
