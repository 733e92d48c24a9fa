-- The words of the messages' texts, as the program folds them, and the chat of each. What is deleted is overwritten here too.
create virtual table message_words using fts5 (words, chat, tokenize = 'ascii');
insert into message_words (message_words, rank) values ('secure-delete', 1);

-- Whether a message's words are there. None: they are still to be made. An older release stores none, and the trigger forgets
-- those of a text that changed.
alter table messages add column worded integer;
create index messages_wordless on messages (id) where worded is null and deleted_at is null;
create trigger messages_forget_words after update of text on messages when new.text is not old.text begin
    delete from message_words where rowid = old.id;
    update messages set worded = null where id = old.id;
end;
