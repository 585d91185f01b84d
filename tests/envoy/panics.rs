//! A panic in the filter, which no input is known to cause: a build for tests alone panics on a
//! request header.

use std::time::{Duration, Instant};

use waggle_controller::envoy::FilterCode;
use waggle_controller::labels::Affinity;
use waggle_filter::config::InfoHeaders::Hidden;
use waggle_tests::program::{free_address, panicking_filter_module};

use crate::world::{World, backend, settings, sticky};

/// How long the one worker may answer 503 for a panic.
const OUTAGE: Duration = Duration::from_millis(200);

/// A request that the filter does not see takes less, unless the machine has other work: then an
/// outage says nothing.
const USUAL: Duration = Duration::from_millis(20);

/// How many panics are seen.
const PANICS: u64 = 20;

/// When waiting for the worker ends.
const TOO_LONG: Duration = Duration::from_secs(5);

const PANIC: &str = "x-waggle-panic: 1\r\n";

#[test]
fn after_a_panic_the_worker_serves_again_within_200_ms() {
    let module = std::fs::read(panicking_filter_module().unwrap()).unwrap();
    let mut settings = settings(free_address().unwrap().port(), Hidden);
    settings.filter_code = FilterCode::Inline(module);
    let tasks = [backend(), backend(), backend()];
    let pools: [(&str, _, &[_]); 2] =
        [("sticky", sticky("session"), &tasks), ("plain", Affinity::None, &tasks)];
    let world = World::start_with(&pools, &settings);
    let first = world.get("sticky.local");
    let session = format!("cookie: session_lb={}\r\n", first.sets("session_lb").unwrap());
    let mut outages = Vec::new();
    for round in 1..=PANICS {
        let crashed = world.ask("GET /", "sticky.local", &format!("{PANIC}{session}"), "");
        assert_eq!(crashed.status, 503, "it did not panic: {crashed:#?}");
        assert!(crashed.values("set-cookie").is_empty(), "{crashed:#?}");
        let began = Instant::now();
        let again = loop {
            let answer = world.ask("GET /", "sticky.local", &session, "");
            if answer.status == 200 {
                break answer;
            }
            assert!(began.elapsed() < TOO_LONG, "still not serving: {answer:#?}");
        };
        let outage = began.elapsed();
        let after = Instant::now();
        // A route that does not run the filter feels nothing of it.
        assert_eq!(world.get("plain.local").status, 200);
        if after.elapsed() < USUAL {
            outages.push(outage);
        }
        assert_eq!(again.sets("session_lb"), None, "the session moved: {again:#?}");
        assert_eq!(world.envoy.vm_reloads().unwrap(), round, "{outages:?}");
    }
    outages.sort_unstable();
    let most = outages.len() * 9 / 10;
    assert!(most > 0 && outages[..most].iter().all(|outage| *outage < OUTAGE), "{outages:?}");
    assert!(world.envoy.log().contains("asked for by x-waggle-panic"), "{}", world.envoy.log());
    println!("served again after {outages:?}");
}

#[test]
fn the_module_that_is_released_panics_on_no_header() {
    let world = World::start(&[("demo", sticky("session"), &[backend()])], Hidden);
    let answer = world.ask("GET /", "demo.local", PANIC, "");
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(world.envoy.vm_reloads().unwrap(), 0);
}
