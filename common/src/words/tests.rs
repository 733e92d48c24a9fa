use super::*;

fn folded(text: &str) -> Vec<String> {
    words(text).into_iter().map(|word| word.folded).collect()
}

fn query(text: &str) -> Query {
    Query::read(text, Language::SIMPLE).unwrap()
}

/// The pieces of the text that a question finds, if it finds it.
fn pieces(question: &str, text: &str) -> Option<Vec<String>> {
    let chars: Vec<char> = text.chars().collect();
    let found = query(question).highlights(text)?;
    Some(found.iter().map(|[start, end]| chars[*start..*end].iter().collect()).collect())
}

fn finds(question: &str, text: &str) -> bool {
    pieces(question, text).is_some()
}

#[test]
fn case_and_accents_are_folded_whatever_way_they_are_written() {
    assert_eq!(folded("Élan ÉCOLE e\u{301}cole"), ["elan", "ecole", "ecole"]);
    assert_eq!(folded("Ёлка ёлка елка Е\u{308}лка"), ["елка"; 4]);
    assert_eq!(folded("Мой МОИ мои\u{306}"), ["мой", "мои", "мой"], "й is a letter of its own");
    assert_eq!(folded("ΣΟΦΌΣ σοφος"), ["σοφοσ", "σοφοσ"]);
    assert_eq!(folded("Ｆｕｌｌ ﬁne İstanbul ㎏"), ["full", "fine", "istanbul"], "a sign is no letter");
    assert_eq!(folded("שָׁלוֹם مُحَمَّد"), ["שלום", "محمد"]);
    assert_ne!(folded("की"), folded("का"), "vowels of other scripts count");
    assert_eq!(folded("co\u{ad}operate"), ["cooperate"]);
}

#[test]
fn what_is_no_letter_parts_words_and_harms_nobody() {
    assert_eq!(
        folded("don't a_b 100% c:* d\\e \0 f'g\"h"),
        ["don", "t", "a", "b", "100", "c", "d", "e", "f", "g", "h"]
    );
    assert_eq!(folded("...!?  \u{301}"), [""; 0]);
    for hostile in ["a'b:*", "%\\\0'\"", "x\" OR \"y", "NEAR(a b)", "-a", "^a", "{words}: a", "(", "&|!<->"] {
        let asked = Query::read(hostile, Language::SIMPLE).unwrap();
        let plain = |c: char| c.is_alphanumeric() || " '\":*+()<->&ANDw".contains(c);
        assert!(asked.tsqueries().join(" & ").chars().all(plain), "{hostile}: {}", asked.tsqueries().join(" & "));
        for term in asked.fts5() {
            let asked = term.whole("words") + &term.beginning().unwrap_or_default() + &term.line();
            assert!(asked.chars().all(plain), "{hostile}: {asked}");
        }
    }
    assert!(query("?! …").is_empty());
    assert_eq!(vector("B a, b"), "'b':1 'a':2 'b':3");
    // 64 letters of four bytes each, of which Postgres keeps a million bytes.
    let long: Vec<String> = (0..10_000).map(|n| format!("{n}{}", "𐐀".repeat(64))).collect();
    let kept = vector(&long.join(" "));
    assert!(kept.len() < 1_200_000 && kept.matches(' ').count() > 3_000, "{}", kept.len());
    assert_eq!(vector("!"), "");
}

#[test]
fn words_are_counted_as_they_are_found() {
    for text in ["", "...", "\u{301}a", "B a, b", "Élan e\u{301}cole", "中文字", "a中b 👍🏽👨‍👩‍👧 x", "한국어 คำ"]
    {
        assert_eq!(count(text), folded(text).len(), "{text}");
    }
}

#[test]
fn all_words_must_occur_and_the_last_by_its_beginning() {
    assert!(finds("world hello", "Hello, world!"));
    assert!(!finds("hello moon", "Hello, world!"));
    assert_eq!(pieces("hello wor", "Hello, world!"), Some(vec!["Hello".into(), "world".into()]));
    assert!(!finds("hel world", "Hello, world!"), "only the last word may be begun");
    assert!(finds("hello  ", "hello"));
    assert!(!finds("h", "hello") && finds("h", "plan h"), "one letter is a word");
    assert!(finds("red,blue", "blue and red"));
    assert_eq!(pieces("a", "a b a"), Some(vec!["a".into(), "a".into()]));
}

#[test]
fn a_phrase_stands_together_in_its_order() {
    assert_eq!(pieces("\"big world\"", "a Big, world; the world is big"), Some(vec!["Big, world".into()]));
    assert!(!finds("\"big world\"", "world big"));
    assert!(!finds("\"big wor\"", "big world"), "a closed phrase is whole");
    assert!(finds("\"big wor", "big world"), "one that is still written is begun");
    assert!(finds("“big world” see", "see a big world") && finds("\"\" see", "see"));
    assert_eq!(pieces("world \"big world\"", "big world"), Some(vec!["big world".into()]), "pieces are apart");
}

#[test]
fn a_script_without_spaces_is_found_by_any_piece() {
    assert!(finds("北京", "我住在北京市") && !finds("京北", "我住在北京市"));
    assert!(finds("京", "我住在北京市"));
    assert_eq!(pieces("東京タワー", "昨日東京タワーへ"), Some(vec!["東京タワー".into()]));
    assert!(finds("กรุงเทพ", "ฉันอยู่กรุงเทพฯ"));
    assert!(finds("iphone手机", "新的iPhone手机"));
    assert!(finds("안녕", "안녕하세요"), "Korean writes spaces: a word by its beginning");
}

#[test]
fn highlights_count_scalar_values() {
    assert_eq!(query("cafe").highlights("👩‍💻 e\u{301} Cafe\u{301}s cafe\u{301}!"), Some(vec![[7, 13], [14, 19]]));
    assert_eq!(query("👍").highlights("ok 👍🏽👍"), Some(vec![[3, 5], [5, 6]]));
    assert_eq!(pieces("👩‍💻", "a 👩‍💻 b"), Some(vec!["👩‍💻".into()]));
    assert_eq!(pieces("ё", "е\u{308}"), Some(vec!["е\u{308}".into()]));
}

#[test]
fn a_question_is_bounded() {
    let read = |text: &str| Query::read(text, Language::SIMPLE).map(drop);
    assert_eq!(read(" \t"), Err(Refused::Blank));
    assert_eq!(read(&"ж".repeat(256)), Ok(()));
    assert_eq!(read(&"ж".repeat(257)), Err(Refused::TooLong));
    assert_eq!(read(&"a ".repeat(32)), Ok(()));
    assert_eq!(read(&"a ".repeat(33)), Err(Refused::TooMany));
    let long = "x".repeat(5_000);
    assert!(finds(&"x".repeat(200), &long), "a long word is known by its first letters");
    assert_eq!(words(&long)[0].end, 5_000);
}

#[test]
fn an_answer_is_bounded() {
    let read = |text: &str| Query::read(text, Language::SIMPLE).unwrap();
    assert_eq!(read("big world big Big \"big\" big"), read("big world \"big\" big"), "a word asks once");
    assert_eq!(read("word ".repeat(32).trim_end()).fts5().len(), 2, "and by its beginning");
    let found = read("👍 a").highlights(&"a 👍".repeat(1_000)).unwrap();
    assert_eq!((found.len(), found[0], found[99]), (100, [0, 1], [149, 150]), "the first hundred");
}

#[test]
fn a_language_minds_no_endings() {
    let finds = |language: &str, question: &str, text: &str| {
        let asked = Query::read(question, Language::named(language).unwrap()).unwrap();
        let found = asked.highlights(text).is_some();
        // The store must find what the comparison finds.
        if found {
            let begins = asked.tsqueries().join(" & ").replace(['(', ')', '\'', ':', '*'], "");
            assert!(folded(text).iter().any(|word| word.starts_with(&begins)), "{begins}");
        }
        found
    };
    assert!(finds("russian", "собаки", "Две собаке") && !finds("russian", "собака", "кошка"));
    assert!(!finds("simple", "собаки", "Две собаке"));
    assert!(finds("english", "happy", "happiness is") || finds("english", "happy", "happily ever"));
    assert!(finds("english", "flies", "it flies") && finds("english", "running", "we run daily"));
    for (a, b) in [("flies", "fly"), ("tries", "try"), ("skies", "sky"), ("dogs", "dog"), ("cats", "cat")] {
        assert!(finds("english", a, b) && finds("english", b, a), "{a} and {b}");
    }
    // Its beginning is an article, which the language cuts.
    assert!(finds("arabic", "الكتاب", "الكتاب") && !finds("arabic", "الكتاب", "كتاب"));
    assert!(!finds("english", "\"running\"", "we run"), "a phrase is as written");
    assert!(finds("english", "runn", "running"), "the last word by its beginning too");
    assert_eq!(Language::named("klingon"), None);
    assert!(Language::names().all(|name| Language::named(name).is_some()));
}
