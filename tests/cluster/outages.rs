//! What has brought clusters down elsewhere, done to this one: each test is one outage that people have reported, named for what
//! they saw, and says what happens here instead. `docs/outages.md` lists them all, also those that other tests show.

mod disks;
mod doors;
mod load;
mod managers;
mod nodes;
mod upgrade;
