//! Requests at a constant rate, whatever becomes of them.
//!
//! A request is due when it is due, and its time counts from then: a proxy that holds up one request
//! does not hold up the next (an open loop). All runs on one thread of its own, so that what a test
//! does beside it moves no request.
//!
//! ```ignore
//! let load = Steady::start(Plan::new(proxy, [Site::new("demo.local", "demo")]));
//! // … an update …
//! let report = load.end()?;
//! ensure!(report.failures.is_empty(), "{report}");
//! ```

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::task::{JoinSet, LocalSet};

mod mix;
mod report;
mod wire;

pub use mix::{Kind, Method, Wire};
pub use report::{Failure, Fault, Report, Slow};

use mix::Site as Asked;
use report::Tally;
use wire::Lanes;

/// How long one request may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A host that is asked, and who has to answer.
#[derive(Debug, Clone)]
pub struct Site {
    host: String,
    service: String,
}

impl Site {
    /// Requests for `host` have to be answered by the demo application of `service`.
    pub fn new(host: &str, service: &str) -> Self {
        Self { host: host.to_owned(), service: service.to_owned() }
    }
}

/// What is asked, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The proxy.
    pub proxy: SocketAddr,
    /// The hosts that are asked in turn.
    pub sites: Vec<Site>,
    /// Requests a second.
    pub rate: u32,
}

impl Plan {
    /// 1,000 requests a second to these hosts.
    pub fn new(proxy: SocketAddr, sites: impl IntoIterator<Item = Site>) -> Self {
        Self { proxy, sites: sites.into_iter().collect(), rate: 1000 }
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Steady {
    began: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Report>>,
}

impl Steady {
    /// Starts it.
    pub fn start(plan: Plan) -> Self {
        let (began, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(LocalSet::new().block_on(&runtime, go_on(plan, began, told)))
        });
        Self { began, stop, thread }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How long it has been running: the time by which failures are told.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Asks no more, waits for the answers that are missing, and tells what came of it all.
    pub fn end(self) -> anyhow::Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load has panicked"))?
    }
}

async fn go_on(plan: Plan, began: Instant, stop: Arc<AtomicBool>) -> Report {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let lanes = Rc::new(Lanes::new(plan.proxy));
    let sites: Vec<Rc<Asked>> = plan.sites.iter().map(|it| Rc::new(Asked::new(it))).collect();
    let mut asked = JoinSet::new();
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = began + Duration::from_secs(1) * number / plan.rate.max(1);
        tokio::time::sleep_until(due.into()).await;
        let kind = Kind::of(number);
        let turn = usize::try_from(number).unwrap_or_default();
        if let Some(site) = sites.get(turn % sites.len().max(1)).cloned() {
            let (tally, lanes) = (Rc::clone(&tally), Rc::clone(&lanes));
            asked.spawn_local(async move {
                let sent = Instant::now();
                let outcome = tokio::time::timeout(PATIENCE, lanes.ask(&site, kind, number)).await;
                let outcome = outcome.unwrap_or(Err(Fault::Silence));
                let at = due.duration_since(began);
                tally.borrow_mut().take(kind, at, sent.duration_since(due), due.elapsed(), outcome);
            });
        }
        while asked.try_join_next().is_some() {}
        number = number.wrapping_add(1);
    }
    let ran = began.elapsed();
    while asked.join_next().await.is_some() {}
    let tally = tally.take();
    tally.report(ran)
}
