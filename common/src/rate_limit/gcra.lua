-- Some more under a limit, by the generic cell rate algorithm (ITU-T I.371), on the server's own
-- clock, after what a node allowed by its lease, or what is owed.
-- KEYS[1]  the subject's theoretical arrival time, microseconds since the epoch
-- ARGV[1]  the emission interval, microseconds
-- ARGV[2]  the burst
-- ARGV[3]  the most that may count
-- ARGV[4]  what the node allowed, or what is owed
-- ARGV[5]  the theoretical arrival time after those alone, microseconds from now on; it may be
--          negative
-- ARGV[6]  how many of those that were counted are taken back first
-- ARGV[7]  how many more are counted: all of them, or none
-- Answers two numbers. First how many microseconds to wait; 0: allowed, and counted. Then how much
-- of the burst is used.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local spent = tonumber(ARGV[4])
local held = tonumber(ARGV[6])
local furthest = now + interval * tonumber(ARGV[3])
-- Further ahead it cannot be: the server's clock has stepped back.
local arrival = math.min(tonumber(redis.call('GET', KEYS[1]) or now), furthest)
if spent > 0 then
    -- As if each had been counted when it happened.
    arrival = math.min(math.max(arrival + spent * interval, now + tonumber(ARGV[5])), furthest)
end
arrival = arrival - held * interval
if arrival < now then
    arrival = now
end
local next = arrival + interval * tonumber(ARGV[7])
local wait = next - interval * tonumber(ARGV[2]) - now
if wait > 0 then
    next = arrival
end
if wait <= 0 or spent > 0 or held > 0 then
    -- Lua would write a number this large in scientific notation.
    redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
end
return {math.max(wait, 0), math.ceil((next - now) / interval)}
