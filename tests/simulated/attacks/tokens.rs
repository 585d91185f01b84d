//! Tokens that are not, or no longer, what they claim to be.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use waggle_tests::client::Jar;
use waggle_tests::tokens::Tokens;

use super::{HOST, KEY, PATH, Scene};
use crate::sessions::rotation::give;

const OTHER_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo2NTQzMjE=";

async fn attack(scene: &Scene, case: &str, token: &str) -> Result<()> {
    let line = format!("a=1; session_lb={token}; b=2");
    scene.attack(&format!("{case} ({token})"), &[("cookie", line.as_bytes())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_another_made_leads_nowhere() -> Result<()> {
    let scene = Scene::start().await?;
    let (target, own) = (scene.target(), scene.service.id());
    let forged = Tokens::new(OTHER_KEY, "session_lb")?.make(own, target, Duration::ZERO)?;
    attack(&scene, "signed by a key of the attacker's", &forged).await?;
    let valid = scene.valid()?;
    let later = scene.tokens.of_another_format(&valid).context("a token of our format")?;
    attack(&scene, "of another version", &later).await?;
    let renamed = Tokens::new(KEY, "other_lb")?.make(own, target, Duration::ZERO)?;
    attack(&scene, "of another cookie", &renamed).await?;
    // What other proxies put into such cookies.
    for native in [target.to_string(), super::headers::named(target), "0123456789abcdef".into()] {
        attack(&scene, "of another proxy", &native).await?;
    }
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_changed_leads_nowhere() -> Result<()> {
    let scene = Scene::start().await?;
    let valid = scene.valid()?;
    for (at, sign) in valid.char_indices() {
        // Another value of the base64 digit's highest bit: the last digit has bits that say nothing.
        let other = if sign.is_ascii_uppercase() { '_' } else { 'A' };
        let mut flipped = valid.clone();
        flipped.replace_range(at..=at, &other.to_string());
        attack(&scene, "with a changed bit", &flipped).await?;
    }
    for length in (0..valid.len()).step_by(7) {
        let cut = valid.get(..length).unwrap_or_default();
        attack(&scene, "cut", cut).await?;
    }
    for tail in ["A", "AAAA", "=", "==", "%00", &valid] {
        attack(&scene, "lengthened", &format!("{valid}{tail}")).await?;
    }
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_used_elsewhere_or_later_leads_nowhere() -> Result<()> {
    let mut scene = Scene::start().await?;
    let (target, other) = (scene.target(), scene.other.id().to_owned());
    let moved = scene.tokens.make(&other, target, Duration::ZERO)?;
    attack(&scene, "of another service, for the same address", &moved).await?;
    let mut jar = Jar::default();
    scene.stage.client.get_as(&mut jar, "other.local", PATH).await?;
    let replayed = jar.get("session_lb").context("a session with the other service")?;
    attack(&scene, "that another service's client got", replayed).await?;
    let days = |days: u64| Duration::from_hours(24 * days);
    let over = scene.tokens.make(scene.service.id(), target, days(400))?;
    attack(&scene, "that is over", &over).await?;
    scene.is_unharmed().await?;

    // The key is retired: what it has signed, and what it still signs, is void.
    let before = scene.valid()?;
    let file = scene.keys.path().join("keys");
    give(OTHER_KEY, &file, &mut scene.stage.controller, &scene.stage.envoy).await?;
    attack(&scene, "from before its key was retired", &before).await?;
    attack(&scene, "of a retired key", &scene.valid()?).await?;
    scene.tokens = Tokens::new(OTHER_KEY, "session_lb")?;
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_tell_nothing_of_the_task() -> Result<()> {
    let scene = Scene::start().await?;
    let mut seen = std::collections::BTreeSet::new();
    for client in &scene.clients().await? {
        for _ in 0..20 {
            let mut jar = Jar::default();
            let answer = client.get_as(&mut jar, HOST, PATH).await?;
            scene.shows_nothing(&answer)?;
            let token = jar.get("session_lb").context("a token")?.to_owned();
            ensure!(seen.insert(token), "the same token twice: {answer:?}");
        }
    }
    scene.is_unharmed().await
}
