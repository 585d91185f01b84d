//! Updates and scaling: Swarm tells of each task that it will stop.

use anyhow::Result;

use super::play;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_first_update_of_two_tasks_loses_nothing() -> Result<()> {
    play('a').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_first_update_of_three_tasks_loses_nothing() -> Result<()> {
    play('b').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_first_update_of_the_only_task_loses_nothing() -> Result<()> {
    play('c').await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_first_update_of_the_only_task_fails_only_while_there_is_none() -> Result<()> {
    play('d').await
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_of_ten_tasks_leave_at_once_and_nothing_is_lost() -> Result<()> {
    play('e').await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tasks_are_replaced_at_once_and_nothing_is_lost() -> Result<()> {
    play('f').await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_services_are_updated_together_and_nothing_is_lost() -> Result<()> {
    play('r').await
}
