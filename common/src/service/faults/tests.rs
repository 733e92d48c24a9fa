use super::*;

fn messages(check: impl FnOnce(&mut Faults)) -> Vec<String> {
    let mut faults = Faults::default();
    check(&mut faults);
    faults.0.into_iter().map(|fault| fault.message).collect()
}

fn fits(check: impl FnOnce(&mut Faults)) -> bool {
    messages(check).is_empty()
}

#[test]
fn usernames_have_3_to_32_of_their_characters() {
    for good in ["ann", "A-Z_a.z09", &"x".repeat(32), "...", "-_."] {
        assert!(fits(|f| f.username("username", good)), "{good:?}");
    }
    let too_long = "x".repeat(33);
    for bad in ["", "ab", &too_long, "an n", "änn", "ann\n", "ann\0", "a@b", "анна", "ann "] {
        assert!(!fits(|f| f.username("username", bad)), "{bad:?}");
    }
}

#[test]
fn an_email_could_be_one() {
    let longest = format!("{}@b.org", "a".repeat(248));
    assert_eq!(longest.chars().count(), 254);
    for good in ["a@b", "ann@example.org", "ann+tag@ex-ample.org", "ü@bücher.example", &longest] {
        assert!(fits(|f| f.email("email", good)), "{good:?}");
    }
    let too_long = format!("a{longest}");
    for bad in [
        "",
        "ann",
        "@b.org",
        "ann@",
        "a@b@c",
        "an n@b.org",
        "ann@b.org\n",
        "ann@b\0",
        "ann@.org",
        "ann@org.",
        "ann@b..org",
        "<ann@b.org>",
        "\"ann\"@b.org",
        "ann\u{200b}@b.org",
        "ann\u{202e}@b.org",
        "deleted-7@deleted.invalid",
        "ann@Deleted.INVALID",
        "ann@ｄeleted。invalid",
        &too_long,
    ] {
        assert!(!fits(|f| f.email("email", bad)), "{bad:?}");
    }
}

#[test]
fn passwords_have_8_to_128_characters_of_any_kind() {
    for good in ["a1b2c3x9", "ö ä ü ß ", &"ü🙂".repeat(4), &"ü🙂".repeat(64)] {
        assert!(fits(|f| f.new_password("password", good, &[])), "{good:?}");
    }
    for bad in ["", "a1b2c3d", "ü🙂ü🙂ü🙂ü", &format!("{}x", "ü🙂".repeat(64)), "a1b2c3d4\0"] {
        assert!(!fits(|f| f.new_password("password", bad, &[])), "{bad:?}");
    }
}

#[test]
fn names_and_descriptions_count_scalar_values() {
    assert!(fits(|f| f.name("name", &"é".repeat(128))));
    assert!(fits(|f| f.name("name", "Семья 👩\u{200d}👩\u{200d}👧 می\u{200c}خواهم")));
    for bad in ["", " ", "\u{a0}\t", "a\0b", "a\nb", "a\u{1b}[1mb", "a\u{2028}b", &"é".repeat(129)] {
        assert!(!fits(|f| f.name("name", bad)), "{bad:?}");
    }
    assert!(fits(|f| f.description("description", "")));
    assert!(fits(|f| f.description("description", &"é".repeat(1024))));
    for bad in ["a\0", &"é".repeat(1025)] {
        assert!(!fits(|f| f.description("description", bad)), "{bad:?}");
    }
}

#[test]
fn no_name_leaves_its_line_or_looks_like_none() {
    let rules: [fn(&mut Faults, &str); 2] =
        [|f, value| f.name("name", value), |f, value| f.display_name("name", value)];
    for rule in rules {
        for good in ["Ann", "ישראל\u{200f}", "\u{61c}علي", "می\u{200c}خواهم", "👩\u{200d}👧", "Łukasz 🙂\u{fe0f}"]
        {
            assert!(fits(|f| rule(f, good)), "{good:?}");
        }
        for bad in (0..0x20).chain(0x7f..0xa0).chain(0x2028..=0x202e).chain(0x2066..=0x2069) {
            let bad = char::from_u32(bad).expect("a character");
            assert!(!fits(|f| rule(f, &format!("Ann{bad}b"))), "{bad:?}");
        }
        for invisible in ["\u{200b}", "\u{200f}", "\u{2800}", "\u{3164}", "\u{ad} \u{34f}", "\u{e0041}", "\u{fff9}"] {
            assert!(!fits(|f| rule(f, invisible)), "{invisible:?}");
        }
    }
}

#[test]
fn a_text_of_lines_turns_back_on_each_what_it_turned() {
    let rules: [fn(&mut Faults, &str); 2] = [|f, value| f.bio("bio", value), |f, value| f.description("bio", value)];
    for rule in rules {
        for good in
            ["", "one\ntwo\r\n\tthree", "\u{2068}علي\u{2069} said", "\u{202b}a\u{2066}b\u{2069}c\u{202c}", "ב\u{200f}!"]
        {
            assert!(fits(|f| rule(f, good)), "{good:?}");
        }
        for bad in [
            "\u{1b}[1m",
            "a\u{8}",
            "\u{202e}gpj.exe",
            "a\u{202c}",
            "a\u{2069}",
            "\u{202e}a\nb\u{202c}",
            "\u{2067}a\u{2028}b\u{2069}",
            "\u{202a}\u{2066}a\u{202c}\u{2069}",
        ] {
            assert!(!fits(|f| rule(f, bad)), "{bad:?}");
        }
    }
}

#[test]
fn a_text_is_neither_blank_nor_too_long() {
    for good in ["x", " x ", &"🙂".repeat(4096), "e\u{301}", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f}"] {
        assert!(fits(|f| f.text("text", good, 4096)), "{good:?}");
    }
    for invisible in ["\u{2800}", "\u{3164}", "\u{ad}", "\u{34f}", "\u{e0020}", "\u{180e}", "\u{206f}", "\u{fe0f}"] {
        assert!(!fits(|f| f.text("text", &invisible.repeat(3), 4096)), "{invisible:?}");
    }
    for bad in ["", " \n\t", "\u{200b}", "\u{feff}\u{2060}", "\u{3000}", "a\0b", "\0", &"🙂".repeat(4097)] {
        assert!(!fits(|f| f.text("text", bad, 4096)), "{bad:?}");
    }
}

#[test]
fn a_client_message_id_has_1_to_64_characters() {
    for good in ["1", &"é".repeat(64)] {
        assert!(fits(|f| f.client_message_id("client_message_id", good)), "{good:?}");
    }
    for bad in ["", &"x".repeat(65), "a\0"] {
        assert!(!fits(|f| f.client_message_id("client_message_id", bad)), "{bad:?}");
    }
}

#[test]
fn a_page_has_1_to_100_items() {
    for (limit, good) in [(i64::MIN, false), (0, false), (1, true), (100, true), (101, false), (i64::MAX, false)] {
        assert_eq!(fits(|f| f.limit("limit", limit)), good, "{limit}");
    }
}

#[test]
fn each_field_is_told_once_and_all_fields_are() {
    let told = messages(|f| {
        f.username("username", "a\0");
        f.email("email", "");
        f.new_password("password", "\0", &[]);
        f.add("email", "again");
    });
    assert_eq!(told.len(), 3);
}
