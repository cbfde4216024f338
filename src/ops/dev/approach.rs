//! Whose stack it is: taken, followed, or waited for.

use super::DevOptions;
use crate::compose::{Attach, Stack};
use crate::engine::{self, Container};
use crate::ops::Context;
use crate::ops::ownership::{own_containers, take_lock};
use crate::reporter::Logger as _;
use crate::session::{ProjectLock, waiting_for_others};
use crate::workspace::Workspace;

/// Takes the lock of a stack that is to be started, with what there is of it. None if another run owns it and it is only followed.
pub(super) fn approach_stack(
    options: &DevOptions,
    cx: &Context<'_>,
    workspace: &Workspace,
    stack: &Stack,
) -> anyhow::Result<Option<(ProjectLock, Vec<Container>)>> {
    let mut lock = take_lock(cx, &stack.project);
    loop {
        let before = own_containers(cx, workspace, &stack.project)?;
        let found_running = before.iter().any(Container::is_up);
        let is_ours = match options.attach {
            Attach::Foreground => lock.own().unwrap_or(true),
            Attach::Detached => !lock.is_owned_by_another(),
        };
        match approach(is_ours, found_running, options.attach) {
            Approach::Start => return Ok(Some((lock, before))),
            Approach::StartForOwner => {
                cx.shell.note("another run owns the stack and takes it down when it ends");
                return Ok(Some((lock, before)));
            }
            Approach::Follow => return Ok(None),
            Approach::WaitForOwner => {
                cx.shell.status("Blocking", &waiting_for_others(&stack.project));
                lock.wait_for_the_owner()?;
                lock = take_lock(cx, &stack.project);
            }
        }
    }
}

/// What to do about a stack, by who owns it and whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approach {
    Start,
    /// Apply the changes; another run is attached to the stack and takes it down at its end.
    StartForOwner,
    /// Only show the logs of a stack that another run owns.
    Follow,
    /// The stack was taken down by a third command, and the run that was attached to it is about to notice: what is started now, it would
    /// take down again.
    WaitForOwner,
}

fn approach(is_ours: bool, runs: bool, attach: Attach) -> Approach {
    match (is_ours, runs, attach) {
        (true, _, _) => Approach::Start,
        (false, true, Attach::Detached) => Approach::StartForOwner,
        (false, true, Attach::Foreground) => Approach::Follow,
        (false, false, _) => Approach::WaitForOwner,
    }
}

/// Whether another run is attached to the stack, which is up. Asked without waiting for anybody: it is asked again under the lock.
pub(super) fn is_run_by_another(cx: &Context<'_>, workspace: &Workspace, stack: &Stack) -> anyhow::Result<bool> {
    if !ProjectLock::open(&engine::lock_name(&stack.project)).is_ok_and(|lock| lock.is_owned_by_another()) {
        return Ok(false);
    }
    Ok(own_containers(cx, workspace, &stack.project)?.iter().any(Container::is_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_approach_follows_from_owner_state_and_attachment() {
        use Attach::{Detached, Foreground};
        for (is_ours, runs, attach, expected) in [
            (true, true, Foreground, Approach::Start),
            (true, false, Foreground, Approach::Start),
            (true, true, Detached, Approach::Start),
            (true, false, Detached, Approach::Start),
            (false, true, Foreground, Approach::Follow),
            (false, true, Detached, Approach::StartForOwner),
            (false, false, Foreground, Approach::WaitForOwner),
            (false, false, Detached, Approach::WaitForOwner),
        ] {
            assert_eq!(approach(is_ours, runs, attach), expected, "{is_ours} {runs} {attach:?}");
        }
    }
}
