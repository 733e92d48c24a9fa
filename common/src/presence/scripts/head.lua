-- The head of every presence script: a bucket's keys, the time, and whether the bucket was emptied,
-- or its history went back, since the caller last saw it.
--
-- KEYS[1]  the bucket's `state`, `{m:<deployment>:p:<number>}:state`: every key used here begins
--          with the bucket and so is of its slot. A server whose slot moves to another answers for
--          a key that it has, so this is one that is always there
-- ARGV[1]  how long a lease lasts, ms
-- ARGV[2]  the epoch by which the caller knows the bucket, and the most decisions that it saw in
--          it, with a blank between; '' when it never saw the bucket
--
-- Keys: `held` user -> nodes that hold it, comma-separated · `online` users, score = id, for paging
--       · `since` user -> ms
--       `grace` user -> when it is to be told offline · `gone` user -> when its last connection
--       went
--       `leases` node -> when its lease ends · `n:<node>` users that the node holds · `state`
--       epoch, healing, beat, decided, how many decisions, the longest grace
--       `d:<node>` the digest of the users that the node holds: the bucket was compared with them,
--       and nothing changed them since
--       `pending` user -> the last decision that was not published yet: `1 at decided node` (0:
--       offline) · `claims` user -> when that claim ends
--
-- Every answer begins with the epoch, behind a blank the decisions in it, and with a number, which
-- each script has for itself. Then come
-- the transitions that the caller has to publish and to acknowledge: user, 1 online or 0 offline,
-- since when (ms), when decided (µs, finer than all else, for of two transitions of a user the
-- later holds).
local bucket, lease = string.match(KEYS[1], '^(.*):state$'), tonumber(ARGV[1])
local held, online, since = bucket .. ':held', bucket .. ':online', bucket .. ':since'
local grace, gone, leases, state = bucket .. ':grace', bucket .. ':gone', bucket .. ':leases', bucket .. ':state'
local pending, claims = bucket .. ':pending', bucket .. ':claims'
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local epoch, heals, before, decisions = unpack(call('HMGET', state, 'epoch', 'healing', 'decided', 'decisions'))
decisions = tonumber(decisions or '0')
local known_epoch, seen_decisions = string.match(ARGV[2], '^(%S*) ?(%d*)$')
if not epoch then
    epoch = time[1] .. '.' .. time[2]
    call('HSET', state, 'epoch', epoch, 'beat', now)
elseif known_epoch == epoch and tonumber(seen_decisions or '0') > decisions then
    -- It came back from a snapshot, or from a replica that lagged.
    epoch = time[1] .. '.' .. time[2]
    call('HSET', state, 'epoch', epoch)
end
heals = tonumber(heals or '0')
if known_epoch ~= '' and known_epoch ~= epoch then
    -- It lost something: for one lease, until every node has registered its users anew, nobody is
    -- told offline.
    heals = now + lease
    call('HSET', state, 'healing', heals)
end
-- A server whose clock stepped back, or a failover to one that is behind, must move nothing: what
-- stands further ahead than it can is pulled back, and of two decisions the later is the greater.
if heals > now + lease then
    heals = now + lease
    call('HSET', state, 'healing', heals)
end
local healing = heals > now
local decided = math.max(time[1] * 1000000 + time[2], tonumber(before or '0') + 1)
local decision, has_decided = string.format('%.0f', decided), false
local answer = { epoch .. ' ' .. decisions, 0 }

local function without(nodes, node)
    local others = {}
    for other in string.gmatch(nodes, '[^,]+') do
        if other ~= node then others[#others + 1] = other end
    end
    return table.concat(others, ',')
end

local function is_among(nodes, node)
    return string.find(',' .. nodes .. ',', ',' .. node .. ',', 1, true) ~= nil
end

-- The node holds the user from now on; true when that brings the user online.
local function register(user, node)
    call('SADD', bucket .. ':n:' .. node, user)
    if call('HSETNX', held, user, node) == 0 then
        local nodes = call('HGET', held, user)
        if not is_among(nodes, node) then call('HSET', held, user, nodes .. ',' .. node) end
        return false
    end
    if call('ZREM', grace, user) == 1 then
        call('HDEL', gone, user)
        return false
    end
    -- Both say that the user was online: one may have been lost by itself.
    local is_new = call('ZADD', online, user, user) == 1
    return call('HSETNX', since, user, now) == 1 and is_new
end

-- The node's users change here: its digest stands for them no longer.
local function compare_anew(node)
    call('PEXPIRE', bucket .. ':d:' .. node, 0)
end

local function add(user, is_online, at, when)
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = user, is_online, at, when
end

-- The user came or went: it stays pending, claimed by the node that is to publish it, until it is
-- acknowledged.
local function decide(user, is_online, at, node)
    if not has_decided then
        decisions, has_decided = decisions + 1, true
        call('HSET', state, 'decided', decision, 'decisions', decisions)
        answer[1] = epoch .. ' ' .. decisions
    end
    call('HSET', pending, user, is_online .. ' ' .. at .. ' ' .. decision .. ' ' .. node)
    call('ZADD', claims, now + lease, user)
    add(user, is_online, at, decision)
end

-- Adds a pending decision: the caller's own, whose answer it may not have got; or, with `claim`,
-- any, which becomes the caller's.
local function add_pending(user, node, claim)
    local is_online, at, when, by = string.match(call('HGET', pending, user) or '', '^(%d) (%d+) (%d+) (.+)$')
    if claim then
        if is_online then
            call('HSET', pending, user, is_online .. ' ' .. at .. ' ' .. when .. ' ' .. node)
            call('ZADD', claims, now + lease, user)
        else
            call('ZREM', claims, user)
        end
    end
    if is_online and (claim or by == node) then add(user, is_online, at, when) end
end
