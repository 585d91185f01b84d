//! How the work of a request grows with its cookies: in proportion, whatever they are. A ratio is
//! measured, not a time, so that a slow machine changes nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use waggle_filter::config::{RouteConfig, Schemes};
use waggle_filter::opened::Opener;
use waggle_filter::pin::{Session, Transport};
use waggle_filter::token::KeyRing;

/// Bytes of cookies that make a request cheap, and so many times more that make it dear. Sixteen
/// times the cookies cost 256 times the work where it grows with the square.
const FEW: usize = 8 * 1024;
const TIMES: u32 = 16;

/// What is still in proportion: caches and the clock are not exact.
const AT_MOST: u32 = 4 * TIMES;

/// Opens a request's cookies, as the filter does.
fn open(lines: &[Vec<u8>], opener: &mut Opener) {
    let route = RouteConfig::pack("session", "/", Schemes::One, ["demo"]);
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let now = 1_700_000_000;
    black_box(Session::open(route.as_bytes(), Transport::Plain, &lines, opener, now));
}

/// The shortest of several measurements: what disturbs only makes them longer.
fn cost(lines: &[Vec<u8>], opener: &mut Opener) -> Duration {
    let mut once = || {
        let began = Instant::now();
        open(lines, opener);
        began.elapsed()
    };
    (0..30).map(|_| once()).min().unwrap()
}

/// A piece and a length → `Cookie` lines.
type Shape = fn(&str, usize) -> Vec<Vec<u8>>;

/// So many bytes of a piece again and again.
fn line(piece: &str, bytes: usize) -> Vec<u8> {
    piece.bytes().cycle().take(bytes).collect()
}

#[test]
fn the_work_grows_in_proportion_to_the_cookies() {
    let keys = KeyRing::new(&["a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=".to_owned()]).unwrap();
    let mut opener = Opener::new(keys);
    let token = format!("session_lb={}; ", "A".repeat(140));
    let many = FEW * TIMES as usize;
    for piece in [
        "a=1; ",
        "session_lb=x; ",
        token.as_str(),
        "session_lb",
        ";",
        "=",
        " ",
        "\"",
        "x",
        "\u{ff}",
    ] {
        // In one line; beside a token, which has the line written anew; and in lines of 64 bytes.
        let shapes: [Shape; 3] = [
            |piece, bytes| vec![line(piece, bytes)],
            |piece, bytes| vec![line(piece, bytes), b"session_lb=x".to_vec()],
            |piece, bytes| vec![line(piece, 64); bytes / 64],
        ];
        for (number, shape) in shapes.into_iter().enumerate() {
            let few = cost(&shape(piece, FEW), &mut opener);
            let many = cost(&shape(piece, many), &mut opener);
            assert!(
                many <= few * AT_MOST,
                "{piece:?} in shape {number}: {few:?} for {FEW} bytes, {many:?} for {TIMES} times more"
            );
        }
    }
}
