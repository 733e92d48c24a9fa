-- Takes out whose grace is over, and the users of nodes whose lease is over.
--
-- ARGV[3]  the node that asks
-- ARGV[4]  how many users at most
--
-- The number is how many users are online, or -1 minus it where some are left for another sweep,
-- which may follow at once. Answers those that went offline, and the transitions of others that
-- were not acknowledged in time. `answer.work` is how many users it worked on, for `sweep_all.lua`;
-- it does not leave the server.
local room, mended = tonumber(ARGV[4]), 0

local function answered()
    answer[2] = call('ZCARD', online)
    if room <= 0 then
        answer[2] = -1 - answer[2]
        call('HSET', state, 'beat', now - 200)
    end
    answer.work = mended + ARGV[4] - room
    return answer
end

local beat = tonumber(call('HGET', state, 'beat') or '0')
if now >= beat and now - beat < 200 then return answered() end
call('HSET', state, 'beat', now)
local function extend_graces(ends)
    for _, user in ipairs(call('ZRANGEBYSCORE', grace, '-inf', ends)) do call('ZADD', grace, ends, user) end
end

if now - beat > 2000 then
    -- Nobody swept for a while, so Redis was away (or frozen). Those whom it calls gone may have
    -- come back meanwhile, and their nodes try at once to say so.
    extend_graces(now + 2000)
end
if now - beat > math.max(lease / 3, 2000) then
    -- It cost a living node one renewal at least, and who lives renews by the next lease. Or it
    -- came back from a snapshot, and the renewals say who came back since.
    extend_graces(now + lease / 2)
    for _, node in ipairs(call('ZRANGE', leases, 0, -1)) do call('ZADD', leases, 'GT', now + lease, node) end
    -- And a snapshot may have brought back what was published: the nodes correct it first.
    for _, user in ipairs(call('ZRANGE', claims, 0, -1)) do call('ZADD', claims, 'GT', now + lease, user) end
end

if now < beat then
    -- The clock stepped back: nothing ends later than it would from now on.
    local longest = tonumber(call('HGET', state, 'grace') or '0')
    for _, node in ipairs(call('ZRANGEBYSCORE', leases, now + lease, '(+inf')) do call('ZADD', leases, now + lease, node) end
    for _, user in ipairs(call('ZRANGEBYSCORE', claims, now + lease, '+inf')) do call('ZADD', claims, now + lease, user) end
    for _, user in ipairs(call('ZRANGEBYSCORE', grace, now + longest, '+inf')) do call('ZADD', grace, now + longest, user) end
end

if is_torn() then mended = mend() end
if call('HLEN', pending) > call('ZCARD', claims) then
    for _, user in ipairs(call('HKEYS', pending)) do call('ZADD', claims, 'NX', now, user) end
end

local function go(user, at)
    call('ZREM', online, user)
    call('HDEL', since, user)
    decide(user, 0, at, ARGV[3])
end

if not healing then
    for _, user in ipairs(call('ZRANGEBYSCORE', grace, '-inf', now, 'LIMIT', 0, room)) do
        local at = call('HGET', gone, user) or now
        call('ZREM', grace, user)
        call('HDEL', gone, user)
        go(user, at)
        room = room - 1
    end
end

-- A node that died holds the user no longer.
local function leave(user, node, ended)
    local nodes = call('HGET', held, user)
    if not nodes then return end
    local others = without(nodes, node)
    if others == '' then
        call('HDEL', held, user)
        go(user, ended)
    else
        call('HSET', held, user, others)
    end
end

local dead = call('ZRANGEBYSCORE', leases, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 16)
for i = 1, #dead, 2 do
    local node, ended = dead[i], dead[i + 1]
    compare_anew(node)
    while room > 0 do
        local user = call('SPOP', bucket .. ':n:' .. node)
        if not user then break end
        room = room - 1
        leave(user, node, ended)
    end
    if room > 0 then
        call('ZREM', leases, node)
        local listed = 0
        for _, other in ipairs(call('ZRANGE', leases, 0, -1)) do listed = listed + call('SCARD', bucket .. ':n:' .. other) end
        if call('HLEN', held) > listed then
            -- Its list was lost.
            for _, user in ipairs(call('HKEYS', held)) do
                room = room - 1
                leave(user, node, ended)
            end
        end
    end
end

if room > 0 then
    for _, user in ipairs(call('ZRANGEBYSCORE', claims, '-inf', now, 'LIMIT', 0, room)) do
        room = room - 1
        add_pending(user, ARGV[3], true)
    end
end
return answered()
