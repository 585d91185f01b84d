//! How applications start, hold connections and end.

use anyhow::Result;

use super::play;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_before_it_listens_costs_nothing() -> Result<()> {
    play('k').await
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_exit_at_once_are_updated_and_nothing_is_lost() -> Result<()> {
    play('l').await
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_serve_until_they_are_killed_are_updated_and_nothing_is_lost() -> Result<()> {
    play('m').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_given_up_before_the_task_closes_it() -> Result<()> {
    play('n').await
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_outlive_their_service() -> Result<()> {
    play('o').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_lives_until_its_task_is_killed() -> Result<()> {
    play('s').await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_meets_the_next_owner_of_an_address() -> Result<()> {
    play('t').await
}
