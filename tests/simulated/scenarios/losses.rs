//! Nodes that are drained or lost, and tasks that end without a word.

use anyhow::Result;
use waggle_tests::sandbox;

use super::play;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_one_of_two_tasks_is_drained_and_nothing_is_lost() -> Result<()> {
    play('g').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_crashes_takes_only_the_posts_that_it_was_serving() -> Result<()> {
    play('h').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_turns_unhealthy_takes_only_the_posts_that_it_was_serving() -> Result<()> {
    play('i').await
}

/// The way to the node is cut in a network of the test's own.
#[test]
fn a_lost_node_takes_one_request_a_connection_and_slows_no_other_after_its_first_second()
-> Result<()> {
    if let Err(error) = sandbox::check_root() {
        println!("LEFT OUT: {error}");
        return Ok(());
    }
    sandbox::enter()?;
    tokio::runtime::Runtime::new()?.block_on(play('j'))
}
