//! `Cookie` headers that no browser sends.

use anyhow::{Context, Result, ensure};
use waggle_tests::frames::Fate;

use super::Scene;

/// Bytes that look random, and are the same at each run; any that HTTP allows in a value.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(&mut next)
        .filter(|byte| *byte > b' ' && *byte != 0x7f)
        .take(length)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_garbage_in_a_cookie_does_harm() -> Result<()> {
    let scene = Scene::start().await?;
    let ours = |value: &[u8]| [b"session_lb=", value].concat();
    let valid = scene.valid()?;
    let lines: [Vec<u8>; 12] = [
        ours(&b"A".repeat(4096)),
        ours(&noise(4096)),
        noise(4096),
        ours(b"\xff\xfe\xff"),
        b"\xff=\xff; session_lb".to_vec(),
        b"\xff".repeat(4096),
        b";".repeat(4096),
        b"=".repeat(4096),
        b"\"".repeat(4096),
        ours(b"\t \t"),
        [&b"session_lb=\"".repeat(300)[..], valid.as_bytes()].concat(),
        [b"SESSION_LB=", valid.as_bytes(), b"; session_lb_=1; xsession_lb=1"].concat(),
    ];
    for line in &lines {
        let case: String = line.escape_ascii().to_string().chars().take(60).collect();
        scene.attack(&case, &[("cookie", line)]).await?;
        scene.attack(&case, &[("cookie", line), ("cookie", line), ("cookie", b"a=1")]).await?;
    }
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_cookies_does_harm() -> Result<()> {
    let scene = Scene::start().await?;
    let others: Vec<String> = (0..1_000).map(|number| format!("c{number}={number}")).collect();
    let flipped = format!("{}A", scene.valid()?);
    let long = |count: usize| vec![format!("session_lb={flipped}"); count].join("; ");
    let lines = [
        others.join("; "),
        vec!["session_lb=forged"; 1_000].join("; "),
        vec!["session_lb"; 1_000].join(";"),
        format!("{}; {}", others.join(";"), long(4)),
        long(300),
        long(2_000),
    ];
    for line in &lines {
        let case: String = line.chars().take(60).collect();
        scene.attack(&case, &[("cookie", line.as_bytes())]).await?;
    }
    // A field each, as HTTP/2 clients may send them.
    for count in [50, 1_000] {
        let crumb = format!("session_lb={flipped}");
        let fields = vec![("cookie", crumb.as_bytes()); count];
        scene.attack(&format!("{count} fields"), &fields).await?;
    }
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_end_or_control_in_a_cookie_does_harm() -> Result<()> {
    let scene = Scene::start().await?;
    let internal = super::headers::named(scene.target());
    let injected = [b"x\r\nx-waggle-endpoint: ", internal.as_bytes()].concat();
    let bare = [b"x\nx-waggle-endpoint: ", internal.as_bytes()].concat();
    let values: [&[u8]; 9] = [
        b"a\rb",
        b"a\nb",
        b"a\r\n b",
        b"a\0b",
        b"a\x01b",
        b"a\x7fb",
        &injected,
        &bare,
        b"\r\n\r\n",
    ];
    for value in values {
        let case = value.escape_ascii();
        let cookie = [b"session_lb=", value, b"; b=2"].concat();
        let line = [b"cookie: ", cookie.as_slice(), b"\r\n"].concat();
        scene.attack_by_line(&line).with_context(|| format!("{case} over HTTP/1.1"))?;
        let fate = scene.attack_by_field(b"cookie", &cookie).await?;
        let has_line_end = value.iter().any(|byte| b"\r\n\0".contains(byte));
        ensure!(!has_line_end || fate != Fate::Answered, "{case} over HTTP/2: {fate:?}");
    }
    scene.is_unharmed().await
}
