-- One node sweeps for all, all buckets by one command. `claim` is `lead.lua`, `sweep` the script of
-- one bucket.
--
-- KEYS[1]  the claim
-- KEYS[2…] the `state` of each bucket
-- ARGV[1]  the node that asks
-- ARGV[2]  how long a claim lasts, ms; '' to sweep without one
-- ARGV[3]  how many users it counted online; '' when it did not count
-- ARGV[4]  how many connections it holds
-- ARGV[5]  1 where it takes new ones, else 0
-- ARGV[6]  how long a lease lasts, ms
-- ARGV[7]  how many users at most
-- ARGV[8…] what it knows of each bucket, as `head.lua` takes it
--
-- Answers what the claim does, then what the sweep of each bucket does; no bucket where the claim
-- is another's. It leaves buckets out once so many users were worked on: nobody else is served
-- meanwhile. What it swept is always answered.
local answers = { { 1, false } }
if ARGV[2] ~= '' then answers[1] = claim({ KEYS[1] }, { ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] }) end
if answers[1][1] == 0 then return answers end
local room = tonumber(ARGV[7])
for n = 2, #KEYS do
    local answer = attempt(sweep, { KEYS[n] }, { ARGV[6], ARGV[6 + n], ARGV[1], room })
    answers[n] = answer
    room = room - (answer.work or 0)
    if room <= 0 then break end
end
return answers
