-- The program that logged in, as it named itself: a user tells their sessions apart by it.
alter table sessions add column user_agent text;
