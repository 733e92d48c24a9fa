//! The page in the reader's language: the browser's choice, or the one made in the page.

use std::path::Path;

use messenger_common::error::Error;
use serde_json::json;

use super::{Site, chat_page, open_chat, window_in};
use crate::house::source::files;
use crate::support::Deployment;

one_form!(
    embedded:
    the_page_speaks_the_browsers_language_or_the_chosen_one,
    words_and_place_stay_when_the_language_changes,
    every_language_has_every_sentence,
    every_fault_of_the_server_has_words,
);

const ENTER: &str = "\u{e007}";

/// Faults of a program, which the page does not make.
const PROGRAMS_CODES: [&str; 16] = [
    "bad_json",
    "bad_request",
    "client_message_id_reused",
    "headers_too_large",
    "idempotency_key_reused",
    "invalid", // its fields have words
    "method_not_allowed",
    "not_found",
    "not_subscribed",
    "origin_not_allowed",
    "session_not_found",
    "too_many_subscriptions",
    "unknown_type",
    "unsupported_media_type",
    "upgrade_required",
    "uri_too_long",
];
const PROGRAMS_FAULTS: [&str; 19] = [
    "cannot be used together with after",
    "cannot be used together with before",
    "is not a cursor of this list",
    "is not a cursor that this list gave out",
    "is not a message of this chat", // the composer sends the words without what they answer
    "is not one emoji of Unicode's list",
    "must be a list of integers",
    "must be a string",
    "must be a time of RFC 3339, as 2026-12-24T18:00:00Z",
    "must be an array of objects",
    "must be an integer",
    "must be from 1 to 100",
    "must be from 1 to 7 seconds, or null", // the form offers what fits
    "must be from 1 to 7, or null",
    "must be true or false",
    "must name at least one user",
    "must name exactly one other user for a private chat",
    "must be an integer of at least 0",
    "must not stand there twice",
];
/// How a fault of a field begins, after the field's name.
const BEGINNINGS: [&str; 7] = ["cannot ", "is ", "may ", "must ", "names ", "needs ", "of "];

async fn the_page_speaks_the_browsers_language_or_the_chosen_one(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    for n in 0..22 {
        bob.say(chat, &format!("message {n}")).await;
    }
    let site = Site::of(d).await;
    let page = window_in("ru-RU").await;
    page.goto(&format!("{}/", site.url)).await;
    page.until_text("#entrance-title", "Вход").await;
    page.until("a Russian page", "document.documentElement.lang === 'ru'", &[]).await;
    page.picture("russian-entrance").await;
    page.fill("#entrance-form [name=username]", &ann.username).await;
    page.fill("#entrance-form [name=password]", "not the password").await;
    page.click("#entrance-submit").await;
    page.until_text("#entrance-form [role=alert]", "Неверное имя пользователя или пароль.").await;
    page.click("#entrance-switch").await;
    page.fill("#entrance-form [name=username]", "a b").await;
    page.fill("#entrance-form [name=email]", "nowhere@example.org").await;
    page.fill("#entrance-form [name=password]", "short").await;
    page.click("#entrance-submit").await;
    page.until_text("#entrance-form [role=alert]", "Имя пользователя: ").await;
    page.until_text("#entrance-form [role=alert]", "Пароль: нужно от 8 до 128 символов").await;
    page.click("#entrance-switch").await;
    page.fill("#entrance-form [name=username]", &ann.username).await;
    page.fill("#entrance-form [name=password]", &ann.password).await;
    page.click("#entrance-submit").await;
    page.until_connected().await;
    page.until("the title", "document.title === '(22) Мессенджер'", &[]).await;
    open_chat(&page, "Hike").await;
    page.until_text("#chat-about", "2 участника").await;
    page.until_text(".unread-line", "Новые сообщения").await;
    page.until_text(".day", "Сегодня").await;
    // three plural forms
    let counted = "const { t } = await import('/static/i18n.js');
        return [1, 2, 5, 21, 1000].map((count) => t('chat.members', { count }))";
    let counted = page.js_async(counted).await;
    let wanted = ["1 участник", "2 участника", "5 участников", "21 участник", "1000 участников"];
    let plain = counted.as_array().unwrap().iter().map(|one| one.as_str().unwrap().replace(['\u{a0}', '\u{202f}'], ""));
    assert_eq!(plain.collect::<Vec<_>>(), wanted);
    page.picture("russian-chat").await;

    // the switch counts at once, everywhere, and over a reload
    page.keys("#text", "half a word").await;
    page.click("#show-details").await;
    page.until_text("#details-body", "Выйти из группы").await;
    page.click("#show-settings").await;
    page.keys("#settings select.language", "English").await;
    page.until_text("#settings-title", "Settings").await;
    page.until_text("#details-body", "Leave group").await;
    page.until_text(".day", "Today").await;
    page.until("the title", "document.title.endsWith('Messenger')", &[]).await;
    page.reload().await;
    page.until_text("#show-settings", "Settings").await;
    page.until("the words kept", "document.querySelector('#text').value === 'half a word'", &[]).await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.mine .text", "half a word").await;
    page.assert_own_host(&site.url).await;

    // a browser in a language that is not here
    let page = window_in("fr-FR").await;
    page.goto(&format!("{}/", site.url)).await;
    page.until_text("#entrance-title", "Log in").await;
    page.keys("#entrance select.language", "Русский").await;
    page.until_text("#entrance-title", "Вход").await;
    page.assert_clean(&site.url).await;
}

async fn words_and_place_stay_when_the_language_changes(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("Walk", &[]).await["id"].as_i64().unwrap();
    for n in 0..40 {
        ann.say(chat, &format!("message {n}\n\n{n}")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Walk").await;
    page.until_text("#messages", "message 39").await;
    page.click("#show-details").await;
    page.until_text("#details-body", "Leave group").await;
    page.click("#rename summary").await;
    page.fill("#rename-description", "half a description").await;
    let in_sight = "const log = document.getElementById('log');
        const edge = log.getBoundingClientRect().top;
        const first = [...document.querySelectorAll('.message')].find((node) => node.getBoundingClientRect().bottom > edge);
        return [first.dataset.id, Math.round(first.getBoundingClientRect().top)]";
    page.js("const log = document.getElementById('log'); log.scrollTop = log.scrollHeight / 2", vec![]).await;
    let place = page.js(in_sight, vec![]).await;
    page.click("#show-settings").await;
    page.keys("#settings select.language", "Русский").await;
    page.until_text("#settings-title", "Настройки").await;
    page.until_text("#details-body", "Выйти из группы").await;
    let typed = "document.querySelector('#rename[open] #rename-description').value";
    page.until("the words kept", &format!("{typed} === 'half a description'"), &[]).await;
    assert_eq!(page.js(in_sight, vec![]).await, place, "the message in sight is where it was");
    page.assert_clean(&site.url).await;
}

/// Every sentence is there in every language, with the same values and all plural forms of the
/// language; the page asks for none that is not there, and none is there that it never asks for.
async fn every_language_has_every_sentence(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let faults = page
        .js_async(
            r"const { LANGUAGES } = await import('/static/i18n.js');
            const faults = [];
            const keys = Object.keys(LANGUAGES.en.words);
            const values = (sentence) => [...new Set(Object.values(typeof sentence === 'string' ? [sentence] : sentence)
                .flatMap((one) => one.match(/\{\w+\}/g) ?? []))].sort().join();
            for (const [tag, { words }] of Object.entries(LANGUAGES)) {
                const plurals = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
                for (const key of new Set([...keys, ...Object.keys(words)])) {
                    const [here, english] = [words[key], LANGUAGES.en.words[key]];
                    if (!here || !english) faults.push(`${tag} ${key}: missing`);
                    else if (values(here) !== values(english)) faults.push(`${tag} ${key}: ${values(here)}`);
                    else if (typeof here !== typeof english) faults.push(`${tag} ${key}: plural in one only`);
                    else if (typeof here !== 'string' && plurals.some((form) => !here[form])) faults.push(`${tag} ${key}: ${plurals}`);
                }
            }
            const files = performance.getEntriesByType('resource').map((e) => e.name).filter((name) => name.endsWith('.js') && !/lang_/.test(name));
            const sources = await Promise.all(['/websocket_test_new.html', ...files].map(async (file) => (await fetch(file)).text()));
            const all = sources.join('\n');
            const asked = new Set([...all.matchAll(/\b(?:t|parts)\('([\w.]+)'/g), ...all.matchAll(/data-t(?:-name|-hint)?=.([\w.]+)/g),
                ...all.matchAll(/\? '([\w.]+)' : '[\w.]+'\)/g), ...all.matchAll(/\? '[\w.]+' : '([\w.]+)'\)/g), ...all.matchAll(/, '(fault\.\w+)'\]/g)].map((found) => found[1]));
            for (const key of asked) if (!keys.includes(key) && /^[a-z_]+\.[a-z_]+$/.test(key)) faults.push(`${key}: asked for, and nowhere`);
            const made = ['field.', 'closed.', 'error.', 'role.'];
            for (const key of keys) if (!asked.has(key) && !made.some((one) => key.startsWith(one)) && !['today', 'yesterday'].includes(key)) faults.push(`${key}: never asked for`);
            return { faults, files: files.length, asked: asked.size };",
        )
        .await;
    assert_eq!(faults["faults"], json!([]));
    assert!(faults["files"].as_i64().unwrap() > 20 && faults["asked"].as_i64().unwrap() > 100, "{faults}");
    page.assert_clean(&site.url).await;
}

/// What the rules say of a field, as it stands in their sources; a number is 7.
fn faults_of_fields() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("common/src");
    let rules = ["service", "store/changes"].map(|folder| files(&root.join(folder))).concat();
    let rules = rules.into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    let mut faults = Vec::new();
    for path in rules.chain(["store/send.rs", "store/cursor.rs"].map(|file| root.join(file))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for said in line.split('"').skip(1).step_by(2).map(filled) {
                let fault = BEGINNINGS.iter().any(|one| said.trim_start_matches("7 ").starts_with(one));
                // The types of JSON have quotes of their own in their faults.
                if fault && !said.ends_with('\\') {
                    faults.push(said);
                }
            }
        }
    }
    faults
}

/// A literal with a number for each value in it.
fn filled(literal: &str) -> String {
    literal.split(['{', '}']).enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "7" }).collect()
}

/// Each code and each fault of a field is either said in the reader's language, or a program's.
async fn every_fault_of_the_server_has_words(d: &Deployment) {
    let codes: Vec<&str> = Error::one_of_each().iter().map(Error::code).collect();
    let faults = faults_of_fields();
    assert!(faults.len() > 40, "{faults:#?}");
    let site = Site::of(d).await;
    let page = window_in("ru-RU").await;
    page.goto(&format!("{}/", site.url)).await;
    page.until_text("#entrance-title", "Вход").await;
    let script = format!(
        "const {{ wordsFor }} = await import('/static/words.js');
         const {{ ApiError }} = await import('/static/messenger.js');
         const english = (text) => /[a-z]{{2,}} [a-z]{{2,}}/i.test(text);
         const said = (code, errors) => wordsFor(new ApiError(400, code, 'in English words', {{ errors }}));
         const codes = {}.filter((code) => english(said(code)));
         const faults = {}.filter((message) => english(said('invalid', [{{ field: 'text', message }}])));
         const fields = ['role', 'user_ids', 'text', 'q'].filter((field) => said('invalid', [{{ field, message: 'is required' }}]).startsWith(field));
         return [codes, faults, fields].map((list) => [...new Set(list)].sort());",
        json!(codes),
        json!(faults)
    );
    let unsaid = page.js_async(&script).await;
    assert_eq!(unsaid, json!([sorted(&PROGRAMS_CODES), sorted(&PROGRAMS_FAULTS), []]));
    page.assert_clean(&site.url).await;
}

fn sorted<'a>(list: &[&'a str]) -> Vec<&'a str> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list
}
