//! Logs: what the words mean; the broker does the rest.

use skep_proto::pb;
use tonic::Status;

use super::control::{Answers, ControlService, LogSelection};
use crate::api::{ApiError, lookup};

impl ControlService {
    pub(super) fn read_logs(&self, request: pb::ServiceLogsRequest) -> Result<Answers<pb::ServiceLogsReply>, Status> {
        (self.logs)(self.select(request)?)
    }

    /// A word is a service, else a task.
    fn select(&self, request: pb::ServiceLogsRequest) -> Result<LogSelection, ApiError> {
        let state = self.store.read();
        let options = request.options.unwrap_or_default();
        let mut selection = LogSelection { services: Vec::new(), tasks: Vec::new(), options };
        for word in &request.refs {
            match lookup::service(&state, word) {
                Ok(service) => selection.services.push(service.id),
                Err(no_service) => match lookup::task(&state, word) {
                    Ok(task) => selection.tasks.push(task.id),
                    Err(_) => return Err(no_service.into()),
                },
            }
        }
        Ok(selection)
    }
}
