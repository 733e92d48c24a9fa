-- One node sweeps for all: the first that asks, for as long as it asks on. Each that asks says how
-- many connections it holds.
--
-- KEYS[1]  the claim: `node`, `until` (ms), `online` the users online as that node counted them; of
--          each gateway `c:NODE`, its connections, when it said so (ms), and whether it takes new
--          ones (1 or 0), with colons between
-- ARGV[1]  the node that asks
-- ARGV[2]  how long a claim lasts, ms; a count of connections is as fresh for twice as long
-- ARGV[3]  how many users it counted online; '' when it did not count
-- ARGV[4]  how many connections it holds
-- ARGV[5]  1 where it takes new ones, else 0
--
-- Answers 1 where that node has the claim, else 0; the users online, where they were counted; how
-- many gateways take connections, how many all hold together, and the fewest that one of those
-- holds.
local key, own = KEYS[1], 'c:' .. ARGV[1]
local time = redis.call('TIME')
local now, lasts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2])
local claim, gateways, connections, fewest = {}, 0, 0, false

local function add(count, takes)
    connections = connections + count
    if takes == '1' then
        gateways = gateways + 1
        if not fewest or count < fewest then fewest = count end
    end
end

local all = redis.call('HGETALL', key)
for n = 1, #all, 2 do
    local name, value = all[n], all[n + 1]
    if string.sub(name, 1, 2) ~= 'c:' then
        claim[name] = value
    elseif name ~= own then
        local count, at, takes = string.match(value, '^(%d+):(%d+):([01])$')
        local age = now - tonumber(at or '0')
        if age >= 0 and age <= 2 * lasts then
            add(tonumber(count), takes)
        elseif age < 0 or age > 60 * lasts then
            -- Of a node that is no more, or by a clock that stepped back since.
            redis.pcall('HDEL', key, name)
        end
    end
end
add(tonumber(ARGV[4]), ARGV[5])
-- A server that takes no write still says who sweeps.
redis.pcall('HSET', key, own, ARGV[4] .. ':' .. now .. ':' .. ARGV[5])

local node, ends = claim.node, tonumber(claim['until'] or '0')
-- A claim that ends later than one can was made by a clock that stepped back since.
local is_free = not node or node == ARGV[1] or now >= ends or ends > now + lasts
if is_free then
    redis.call('HSET', key, 'node', ARGV[1], 'until', now + lasts)
    if ARGV[3] ~= '' then
        redis.call('HSET', key, 'online', ARGV[3])
        claim.online = ARGV[3]
    end
end
return { is_free and 1 or 0, claim.online or false, gateways, connections, fewest or 0 }
