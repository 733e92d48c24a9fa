use super::*;

fn values(text: &str) -> Result<HashMap<String, String>, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), text).unwrap();
    let environment = |name: &str| (name == "GIVEN").then(|| "from outside".to_owned());
    read(dir.path(), environment).map_err(|error| error.to_string())
}

/// Each line with its value in python-dotenv 1.2.4, which was asked.
#[test]
fn a_line_means_what_it_means_to_python_dotenv() {
    for (line, value) in [
        ("A=1\r", "1"),
        ("A=a$PATHx", "a$PATHx"),
        ("A=\"a$x b\"", "a$x b"),
        ("A=pa$$word1", "pa$$word1"),
        ("export A=two words # a comment", "two words"),
        ("A=a\\nb", "a\\nb"),
        ("A=\"a\\nb\"", "a\nb"),
        ("A=\"a\\tb\"", "a\tb"),
        ("A=\"x\\$y\"", "x\\$y"),
        ("A=\"a\\\"b\"", "a\"b"),
        ("A='a\\'b'", "a'b"),
        ("A='a\\nb'", "a\\nb"),
        ("A='it'", "it"),
        ("A=\"a'b\"", "a'b"),
        ("A=it's", "it's"),
        ("A=a\\", "a\\"),
        ("A==b", "=b"),
        ("A=", ""),
        ("A=#abc", "#abc"),
        ("A= #abc", ""),
        ("A=a#b", "a#b"),
        ("A=a\t#c", "a"),
        ("A=a  b", "a  b"),
        ("A=\"a\" # c", "a"),
        ("A = 'a$x b'", "a$x b"),
        (" A=2", "2"),
        ("'A'=2", "2"),
        ("A=\"one\ntwo\"", "one\ntwo"),
        ("B=ann\nA=${B}$1", "ann$1"),
        ("B=ann\nA='x${B}y'", "xanny"),
        ("A=x${NOPE}y", "xy"),
        ("A=${NOPE:-def}", "def"),
        ("A=${NOPE:x}${", "${NOPE:x}${"),
        ("GIVEN=here\nA=${GIVEN}", "from outside"),
        ("A=old\nA=new", "new"),
    ] {
        for text in [line.to_owned(), format!("\u{feff}{line}\n\n# A=3\nNOTHING\n")] {
            let values = values(&text).unwrap();
            assert_eq!(values.get("A").map(String::as_str), Some(value), "{text:?}");
            assert!(!values.contains_key("NOTHING"));
        }
    }
}

/// python-dotenv passes over such a line with a warning.
#[test]
fn another_line_is_named_and_not_quoted() {
    for (line, number) in [
        ("A=\"hunter2", 2),
        ("A='hunter2\nB=1", 2),
        ("A=\"hunter2\" b", 2),
        ("hunter2 =1 \n=hunter2", 3),
        ("A hunter2", 2),
        ("''=hunter2", 2),
    ] {
        let fault = values(&format!("FIRST=1\n{line}\n")).unwrap_err();
        assert!(fault.contains(&format!("line {number} is not NAME=value")), "{line}: {fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

/// Each line makes a value twice as long: 40 of them would be a terabyte.
#[test]
fn values_that_grow_without_end_are_refused() {
    let doubled = |lines: usize| format!("A=0123456789abcdef\n{}", "A=${A}${A}\n".repeat(lines));
    let longest = values(&doubled(15)).unwrap();
    assert_eq!(longest["A"].len(), 16 << 15);
    for lines in [16, 40] {
        let fault = values(&doubled(lines)).unwrap_err();
        assert!(fault.contains("line 17 makes its values longer than 1 MiB"), "{fault}");
    }
    let of_others = format!("A={}\nB=${{A}}${{A}}\nC=${{B}}", "a".repeat(400_000));
    assert!(values(&of_others).unwrap_err().contains("line 2 "), "all values together count");
}
