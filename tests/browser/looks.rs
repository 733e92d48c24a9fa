//! How text and page look: either direction of writing, links, colours, and what is copied.

use serde_json::json;

use super::{Site, chat_page, open_chat};
use crate::support::Deployment;

one_form!(
    embedded:
    text_of_any_direction_and_links_stand_right,
    links_begin_and_end_in_any_language_at_once,
    no_letter_is_cut_in_two,
    colours_are_chosen_or_the_systems,
    notifications_are_offered_once,
    at_midnight_today_becomes_yesterday,
    a_large_group_is_counted_whole,
);

async fn text_of_any_direction_and_links_stand_right(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let group = ann.group("Turned \u{645}\u{631}\u{62d}\u{628}\u{627}", &[&bob]).await;
    let chat = group["id"].as_i64().unwrap();
    bob.say(chat, "\u{645}\u{631}\u{62d}\u{628}\u{627} today\u{61f}").await;
    bob.say(chat, "see http://example.org/a_(b), (www.example.org) or me@example.org.").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Turned").await;
    page.until_text(".message .text", "see http").await;
    let looks = page
        .js(
            "const style = (e) => getComputedStyle(e).direction;
             const [arabic, english] = document.querySelectorAll('.message .body');
             return [style(arabic), style(english), ...[...document.querySelectorAll('.text a')].map((a) => a.href)]",
            vec![],
        )
        .await;
    let links = ["http://example.org/a_(b)", "https://www.example.org/", "mailto:me@example.org"];
    assert_eq!(looks, json!(["rtl", "ltr", links[0], links[1], links[2]]));
    page.picture("directions").await;

    // who copies messages gets their words alone
    let copied = page
        .js(
            "getSelection().selectAllChildren(document.querySelector('#messages')); return getSelection().toString()",
            vec![],
        )
        .await;
    let copied = copied.as_str().unwrap();
    assert!(copied.contains("me@example.org."), "{copied:?}");
    assert!(!copied.contains("AM") && !copied.contains("PM"), "{copied:?}");

    // the page's own words are not turned round by a name
    page.click("#show-details").await;
    page.click("#leave").await;
    page.until_text("#confirm bdi", "Turned").await;
    page.click("#confirm [value=no]").await;
    page.assert_clean(&site.url).await;
}

/// A text of nothing but brackets or `%` is read once, not once from each of its letters.
async fn links_begin_and_end_in_any_language_at_once(d: &Deployment) {
    let script = r"
        const { withLinks } = await import('/static/links.js');
        const links = (text) => withLinks(text).filter((part) => typeof part !== 'string').map((part) => part.getAttribute('href'));
        const texts = ['看https://x.example/y，谢谢', '（https://x.example/y）', '見てhttps://x.example/y。', '看www.x.example！', 'https://x.example/y؟', 'https://x.example/y،',
          'вотhttps://x.example/я.', 'xhttps://x.example/y', 'https://x.example/a_(b)).', '(https://x.example/a(b)[c])', 'https://x.example/%D1+a,', 'a%b+c@x.example', 'me@x.example、', '_me@x.example'];
        const began = performance.now();
        const long = ['https://x/' + ')'.repeat(20_000), '%'.repeat(40_000), '+'.repeat(40_000), 'https://x/' + '()'.repeat(10_000)];
        const found = long.map((text) => withLinks(text).length);
        return { links: texts.map(links), found, tookMs: performance.now() - began };";
    let outcome = super::store::outcome(d, script).await;
    let y = ["https://x.example/y"];
    let wanted = json!([
        y,
        y,
        y,
        ["https://www.x.example"],
        y,
        y,
        ["https://x.example/я"],
        [],
        ["https://x.example/a_(b)"],
        ["https://x.example/a(b)[c]"],
        ["https://x.example/%D1+a"],
        ["mailto:a%b+c@x.example"],
        ["mailto:me@x.example"],
        ["mailto:_me@x.example"],
    ]);
    assert_eq!(outcome["links"], wanted);
    assert_eq!(outcome["found"], json!([2, 1, 1, 1]));
    assert!(outcome["tookMs"].as_f64().unwrap() < 3000.0, "{outcome}");
}

/// An emoji is several units of UTF-16, and often several letters of Unicode.
async fn no_letter_is_cut_in_two(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let family = "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    let mut chat = json!(0);
    for name in ["\u{1f600} Smith", "team \u{1f1e9}\u{1f1ea}", family, "e\u{301}t\u{e9}", "Plain words"] {
        chat = ann.group(name, &[]).await["id"].clone();
    }
    let long = format!("{}{family}{family}", "x".repeat(117));
    ann.say(chat.as_i64().unwrap(), &long).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.until_text(".chat-link .preview", "xxx").await;
    let shown = page.texts(".chat-link .avatar").await;
    let flag = "T\u{1f1e9}\u{1f1ea}";
    assert_eq!(shown, ["PW", "E\u{301}T", family, flag, "\u{1f600}S"]);
    assert_eq!(page.texts(".chat-link .preview").await[0], format!("You: {}", "x".repeat(117)));
    page.assert_clean(&site.url).await;
}

async fn colours_are_chosen_or_the_systems(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("First", &[]).await["id"].as_i64().unwrap();
    ann.say(chat, "a message").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "First").await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = page.js(ground, vec![]).await;
    page.click("#show-settings").await;
    page.keys("#theme", "Dark").await;
    page.until("another ground", "getComputedStyle(document.body).backgroundColor !== arguments[0]", &[light.clone()])
        .await;
    let dark = page.js(ground, vec![]).await;
    page.reload().await;
    page.until_text(".message .text", "a message").await;
    assert_eq!(page.js(ground, vec![]).await, dark, "kept over a reload");
    page.picture("dark").await;

    let forced = json!({"features": [{"name": "forced-colors", "value": "active"}]});
    page.devtools("Emulation.setEmulatedMedia", forced).await;
    page.until("a frame around the open chat", "matchMedia('(forced-colors: active)').matches && getComputedStyle(document.querySelector('.chat-link[aria-current]')).borderTopWidth === '2px'", &[])
        .await;
    page.picture("forced-colours").await;
    page.assert_clean(&site.url).await;
}

/// Off at first; offered when one comes back to a message that came unseen; a refusal is final.
async fn notifications_are_offered_once(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("First", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    // the browser's dialog and its desktop are not to be had here
    page.js(
        "window.shown = []; window.away = true;
         window.Notification = class { static permission = 'default'; static async requestPermission() { return this.permission = 'granted'; } constructor(title, more) { shown.push([title, more.body]); } close() {} };
         document.hasFocus = () => !away;",
        vec![],
    )
    .await;
    bob.say(chat, "unseen").await;
    page.until_text(".chat-link .preview", "unseen").await;
    page.until("nothing offered while away", "document.querySelector('#offer').hidden && shown.length === 0", &[])
        .await;
    page.until("the offer", "(() => { away = false; dispatchEvent(new Event('focus')); return !document.querySelector('#offer').hidden; })()", &[])
        .await;
    page.click("#offer-yes").await;
    page.until("it to be kept", "localStorage.getItem('messenger.notify') === 'on'", &[]).await;
    page.js("away = true", vec![]).await;
    bob.say(chat, "seen on the desktop").await;
    let shown = page.until("a notification", "shown.length === 1 && shown", &[]).await;
    assert_eq!(shown[0], json!([format!("{} in First", bob.username), "seen on the desktop"]));
    page.assert_clean(&site.url).await;
}

/// A page that stays open over midnight, and on which nothing happens then.
async fn at_midnight_today_becomes_yesterday(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("First", &[&bob]).await["id"].as_i64().unwrap();
    bob.say(chat, "before").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "First").await;
    // A clock that can be set, and the timers that go off at its next midnight.
    let clock = "const Real = Date;
        window.aheadMs = 0;
        window.atMidnight = [];
        window.Date = class extends Real {
            constructor(...given) { if (given.length > 0) super(...given); else super(Real.now() + aheadMs); }
            static now() { return Real.now() + aheadMs; }
        };
        const set = window.setTimeout;
        window.setTimeout = (work, ms, ...more) => {
            const [now, due] = [new Date(), new Date(Date.now() + ms)];
            if (due.getDate() !== now.getDate() && due.getHours() === 0 && due.getMinutes() === 0) atMidnight.push(work);
            return set(work, ms, ...more);
        };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": clock})).await;
    page.reload().await;
    page.until_text(".day", "Today").await;
    page.until_connected().await;
    page.js("aheadMs = 86_400_000; for (const work of atMidnight.splice(0)) work()", vec![]).await;
    page.until_text(".day", "Yesterday").await;
    bob.say(chat, "after").await;
    page.until_text(".message .text", "after").await;
    assert_eq!(page.texts(".day").await, ["Yesterday"]);
    page.assert_clean(&site.url).await;
}

/// The list of members ends at a thousand; a group does not.
async fn a_large_group_is_counted_whole(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    ann.group("Crowd", &[&bob]).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Crowd").await;
    let crowd = "const text = Response.prototype.text;
        Response.prototype.text = async function () { return (await text.call(this)).replaceAll('\"member_count\":2', '\"member_count\":1234'); };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": crowd})).await;
    page.reload().await;
    page.until_connected().await;
    page.click("#show-details").await;
    page.until_text("#members", &bob.username).await;
    page.until_text("#members-count", "1,234").await;
    page.until_text("#chat-about", "1,234 members").await;
    page.assert_clean(&site.url).await;
}
