//! Hears when a start in the foreground is over, which an attached `up` does not tell.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use super::exec::{Executor, OnLine, Running};
use super::expected::Expected;
use crate::compose::ProjectName;
use crate::engine::{self, Container};

/// Listens to the engine until a start is over. Ended when it is dropped.
pub(super) struct Startup(Box<dyn Running>);

impl Startup {
    /// Calls `over` once, from another thread: with the containers when every one that the start asks for has been started,
    /// with none when the engine tells no more.
    ///
    /// The question goes into the process group of `up`, so that whoever ends `up` ends it too.
    ///
    /// # Errors
    /// If docker cannot be started; `over` is not called then.
    pub(super) fn watch(
        executor: &Arc<dyn Executor>,
        project: &ProjectName,
        expected: &Expected,
        up: u32,
        over: impl FnOnce(Option<Vec<Container>>) + Send + 'static,
    ) -> io::Result<Startup> {
        let (heard, hears) = mpsc::channel();
        let on_line: OnLine = Box::new(move |action| {
            // `up` attaches to its containers once all are created, and then starts them; of a stack that runs already
            // there is nothing but the first to be heard.
            if ["attach", "start"].contains(&action) {
                // Nobody listens any more when it is over.
                let _ = heard.send(());
            }
        });
        let listening = executor.listen(&engine::happenings(project).beside(up), on_line)?;
        let (executor, project, expected) = (Arc::clone(executor), project.clone(), expected.clone());
        thread::spawn(move || {
            over(hears.iter().find_map(|()| {
                // Several at once are one reason to look.
                while hears.try_recv().is_ok() {}
                let containers = engine::containers(executor.as_ref(), &project).ok()?;
                expected.have_started(&containers).then_some(containers)
            }));
        });
        Ok(Startup(listening))
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.0.cut_off();
        // Reaped, so that it does not stay a zombie for as long as we live.
        let _ = self.0.wait();
    }
}
