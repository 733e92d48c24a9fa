//! Drives parsers with mutations of what stands in their corpora (`fuzz/corpus`), each for a
//! second, or for `FUZZ_SECONDS`. The mutations follow from `FUZZ_SEED`, so a run can be repeated.

use nix::time::{ClockId, clock_gettime};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The longest time of a processor that a parser may take for one input, without optimisation.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// A parser that has one input for so long does not return: the process is ended with the input.
const HANGS: Duration = Duration::from_mins(2);
const LONGEST: usize = 64 * 1024;
/// Pieces that parsers look for.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b".",
    b"=",
    b"&",
    b"%",
    b"%00",
    b"%ff",
    b"@",
    b"/",
    b"//",
    b"?",
    b"#",
    b"$",
    b"${",
    b"-",
    b"--",
    b"0",
    b"-1",
    b"1e400",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"null",
    b"true",
    b"[[[[[[[[",
    b"\\ud800",
    b"\\u0000",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{200d}".as_bytes(),
    "ß".as_bytes(),
    "👩‍💻".as_bytes(),
    b"\xff",
    b"\xc0\x80",
    b"http://",
    b"https://",
    b"postgres://",
    b"redis+sentinel://",
    b"::1",
    b"[::1]",
    b":65536",
    b"127.0.0.1",
];

/// A small generator (xorshift64*): a run follows from its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs each parser over its corpus, then over mutations of it. Panics with the input that made a
/// parser panic, or take too long; ends the process where one does not return.
pub fn drive(targets: &[(&str, fn(&[u8]))]) {
    let (over, is_over) = channel();
    let reads = &Mutex::default();
    std::thread::scope(|scope| {
        scope.spawn(move || watch(reads, &is_over));
        // Dropped by a panic too, which ends the watch.
        let _over = over;
        drive_each(targets, reads);
    });
}

/// The input that is read, and how many were before it.
type Reads = Mutex<(u64, Vec<u8>)>;

fn watch(reads: &Reads, is_over: &Receiver<()>) {
    let mut before = 0;
    while is_over.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
        let (count, input) = &*reads.lock().unwrap();
        if *count == before {
            let words = format!("a parser does not return from b\"{}\"\n", input.escape_ascii());
            // Whatever a test prints is kept back until it ends.
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            std::process::abort();
        }
        before = *count;
    }
}

fn drive_each(targets: &[(&str, fn(&[u8]))], reads: &Reads) {
    let lasts = Duration::from_secs(variable("FUZZ_SECONDS", 1));
    let only = std::env::var("FUZZ_TARGET").ok();
    for (name, target) in targets.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let corpus = corpus(name);
        let mut dice = Dice(variable("FUZZ_SEED", 0x9e37_79b9_7f4a_7c15));
        for input in &corpus {
            feed(name, *target, input, reads);
        }
        let (began, mut count) = (Instant::now(), 0_u64);
        while began.elapsed() < lasts {
            feed(name, *target, &mutated(&corpus, &mut dice), reads);
            count += 1;
        }
        println!("{name}: {} of the corpus, {count} mutations in {:.1?}", corpus.len(), began.elapsed());
    }
}

fn feed(name: &str, target: fn(&[u8]), input: &[u8], reads: &Reads) {
    let mut read = reads.lock().unwrap();
    read.0 += 1;
    input.clone_into(&mut read.1);
    drop(read);
    let spent = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let before = spent();
    let done = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = spent() - before;
    assert!(done.is_ok(), "{name} panicked at b\"{}\"", input.escape_ascii());
    assert!(took < READ_WITHIN, "{name} took {took:.1?} for b\"{}\"", input.escape_ascii());
}

/// The files of a corpus, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    corpus
}

fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(16)).min(bytes.len());
        match dice.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..end, PIECES[dice.below(PIECES.len())].iter().copied())),
            4 => drop(bytes.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied())),
            5 => {
                let piece = bytes[at..end].repeat(dice.below(64));
                drop(bytes.splice(at..at, piece));
            }
            6 => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}
