//! Work on many things of which none depends on another, on all cores.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Fewer things than this are worth no thread.
const LEAST: usize = 256;

/// What comes of each thing, in their order.
pub fn map<T: Sync, R: Send>(things: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let make_all = |part: &[T]| part.iter().map(&make).collect::<Vec<_>>();
    // Asking for the cores reads files: longer than a few things take.
    let cores = match things.len() {
        ..=LEAST => 1,
        _ => thread::available_parallelism().map_or(1, NonZero::get),
    };
    let part = things.len().div_ceil(cores).max(LEAST);
    if things.len() <= part {
        return make_all(things);
    }
    let mut results = Vec::with_capacity(things.len());
    thread::scope(|scope| {
        let parts = things.chunks(part).map(|part| scope.spawn(move || make_all(part)));
        for part in parts.collect::<Vec<_>>() {
            results.extend(part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_things_however_many_there_are() {
        for count in [0, 1, LEAST, LEAST + 1, 10 * LEAST + 7] {
            let things: Vec<_> = (0..count).collect();
            let doubled: Vec<_> = (0..count).map(|thing| thing * 2).collect();
            assert_eq!(map(&things, |thing| thing * 2), doubled, "{count}");
        }
    }
}
