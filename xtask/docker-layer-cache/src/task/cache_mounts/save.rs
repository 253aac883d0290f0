//! Out of the engine: the mounts of steps that ran, as far as they have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::super::forecast::Forecast;
use super::super::job::Job;
use super::super::key::Keyed;
use super::super::notes::{Built, Restored};
use super::super::restore::of_store;
use super::super::save::tidy;
use super::helper::{Helper, read_listing};
use super::kept::{KeptMount, kept_mounts};
use super::restore::annotate;
use super::{MountState, RECORD_ANNOTATION, entries, record, record_json};
use crate::cache_mount::{
    LISTING_FILE, MountOrder, MountOutcome, MountReport, Order, OrderKind, pack_file,
};
use crate::engine::HelperBuild;
use crate::error::{Error, exit_code};
use crate::image_layout::{
    BlobState, Entry, EntryKind, ImageLayout, StoredEntry, Timestamp, UNCOMPRESSED,
    UNCOMPRESSED_SIZE, Writer,
};
use crate::oci::{Descriptor, DiffId, Digest, ImageManifest, media_type};
use crate::plan::{MountRecord, export_limit};
use crate::ui::{bytes, seconds};

/// What a save of mounts did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(in crate::task) struct SavedMounts {
    /// The mounts that were saved.
    pub(in crate::task) mounts: Vec<String>,
    /// Bytes that were written as new blobs.
    pub(in crate::task) bytes: u64,
}

/// A mount that is to be saved.
struct Wanted<'a> {
    kept: &'a KeptMount,
    /// What the store has of it.
    entry: Option<StoredEntry>,
    /// What is known of it, this build included.
    record: MountRecord,
    /// What is saved stands on what is stored, or is all that there is.
    continues: bool,
    max_bytes: u64,
    /// Why it may not be larger.
    limit: &'static str,
}

impl Wanted<'_> {
    /// Returns how large it may well be: as large as it was, or any size of those that are usual.
    fn likely_bytes(&self) -> u64 {
        const USUAL_BYTES_MAX: u64 = 1_000_000_000;
        if self.record.bytes > 0 {
            self.record.bytes
        } else {
            self.max_bytes.min(USUAL_BYTES_MAX)
        }
    }
}

/// Stores what the steps that ran left in the mounts. What cannot be done is a warning.
pub(in crate::task) fn save(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    built: &Built,
) -> Result<SavedMounts, Error> {
    let started = Instant::now();
    let saved = match try_save(job, keyed, restored, built) {
        Ok(saved) => saved,
        Err(error) if job.args.strict => return Err(error),
        Err(error) => {
            job.talk.warn(format_args!(
                "{}: cache mounts are not saved: {error}",
                keyed.image.name
            ));
            SavedMounts::default()
        }
    };
    if !saved.mounts.is_empty() {
        job.talk.say(format_args!(
            "{}: cache mounts saved in {}",
            keyed.image.name,
            seconds(started.elapsed().as_secs_f64())
        ));
    }
    Ok(saved)
}

fn try_save(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    built: &Built,
) -> Result<SavedMounts, Error> {
    let mut saved = SavedMounts::default();
    let (kept, _) = kept_mounts(job, keyed)?;
    let Some(forecast) = keyed.forecast(job).filter(|_| !job.args.read_only) else {
        return Ok(saved);
    };
    let ran: Vec<(&KeptMount, f64)> = kept
        .iter()
        .filter_map(|kept| Some((kept, seconds_of(kept, forecast, built)?)))
        .collect();
    if ran.is_empty() {
        return Ok(saved);
    }
    let layout =
        ImageLayout::open_or_create(&job.workspace.store).map_err(|error| of_store(&error))?;
    let writer = layout.writer().map_err(|error| of_store(&error))?;
    let mut entries = entries(&writer, &keyed.platform);
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for (kept, seconds) in ran {
        let entry = entries.remove(&kept.name);
        wanted.extend(weigh(job, keyed, restored, kept, entry, seconds));
    }
    if wanted.is_empty() {
        return Ok(saved);
    }
    let helper = Helper::new(job, keyed)?;
    let packs = Packs::of(&writer, restored)?;
    let orders = wanted.iter().enumerate();
    let order = Order {
        kind: OrderKind::Export,
        mounts: orders
            .map(|(number, wanted)| order_one(&helper, &writer, &packs, number, wanted))
            .collect::<Result<_, _>>()?,
        out: HelperBuild::OUT.into(),
    };
    let mounts: Vec<&KeptMount> = wanted.iter().map(|wanted| wanted.kept).collect();
    let n_bytes = wanted.iter().map(Wanted::likely_bytes).sum();
    let report = helper.run(&mounts, &order, n_bytes)?;
    for (number, (wanted, reported)) in wanted.iter().zip(&report.mounts).enumerate() {
        let out = helper.out().join(number.to_string());
        let put = Put {
            job,
            keyed,
            built,
            writer: &writer,
            packs: &packs,
        };
        if let Some(bytes) = put.mount(wanted, reported, out.as_std_path())? {
            saved.mounts.push(wanted.kept.name.clone());
            saved.bytes += bytes;
        }
    }
    drop(writer);
    tidy(job, &layout);
    Ok(saved)
}

/// Returns how long the steps took that mount it; none where none of them ran.
fn seconds_of(kept: &KeptMount, forecast: &Forecast, built: &Built) -> Option<f64> {
    let ran = forecast
        .real(&built.steps)
        .into_iter()
        .filter(|(real, _)| !real.hit && kept.is_of(real.stage, real.ordinal));
    let seconds = ran.map(|(_, step)| step.seconds);
    seconds.reduce(|sum, seconds| sum + seconds)
}

/// Decides whether a mount is worth being saved, and says why not.
fn weigh<'a>(
    job: &Job<'_>,
    keyed: &Keyed,
    restored: &Restored,
    kept: &'a KeptMount,
    entry: Option<StoredEntry>,
    seconds_taken: f64,
) -> Option<Wanted<'a>> {
    let mut mounts = restored.cache_mounts.iter();
    let state = mounts
        .find(|mount| mount.mount == kept.name)
        .map(|mount| mount.state);
    if state == Some(MountState::NotHad) {
        job.talk.say(format_args!(
            "{}: cache mount `{}` is not saved: the engine did not give it before",
            keyed.image.name, kept.name
        ));
        return None;
    }
    let was_filled = state.is_some_and(MountState::is_filled);
    let before = entry.as_ref().map(record);
    let record = before
        .unwrap_or_default()
        .after_run(seconds_taken, was_filled);
    let pays = if job.offer.all {
        Some(u64::MAX)
    } else {
        export_limit(seconds_taken, was_filled, before.as_ref())
    };
    let of_image = keyed.image.cache_mounts_max_bytes;
    let most = pays.unwrap_or_default().min(of_image);
    // What was too large the last time is looked at again after a while.
    let is_known_too_large = record.left_out_bytes.is_some_and(|bytes| bytes > most);
    if pays.is_none() || is_known_too_large {
        let why = if is_known_too_large {
            "it was too large before"
        } else {
            "that would take longer than it can spare"
        };
        job.talk.say(format_args!(
            "{}: cache mount `{}` is not saved: {why} (its steps took {})",
            keyed.image.name,
            kept.name,
            seconds(seconds_taken)
        ));
        if let Some(entry) = &entry {
            annotate(job, entry, &record.after_skipped_save());
        }
        return None;
    }
    Some(Wanted {
        kept,
        continues: was_filled || entry.is_none() || state == Some(MountState::Failed),
        entry,
        record,
        max_bytes: most,
        limit: if most == of_image {
            "cache-mounts-max-size"
        } else {
            "what comes in sooner than its steps run"
        },
    })
}

/// The packs that the store has, by the digests of their uncompressed bytes.
struct Packs(BTreeMap<DiffId, Descriptor>);

impl Packs {
    /// Drops the blobs that were found damaged, so that they count as new.
    fn of(writer: &Writer, restored: &Restored) -> Result<Packs, Error> {
        let known = writer
            .layers()
            .map_err(|error| of_store(&error))?
            .by_diff_id;
        let is_pack = |blob: &Descriptor| blob.media_type == media_type::CACHE_MOUNT_PACK;
        let mut packs: BTreeMap<DiffId, Descriptor> = known
            .into_iter()
            .filter(|(_, blob)| is_pack(blob))
            .collect();
        for blob in packs
            .values()
            .filter(|blob| restored.damaged.contains(&blob.digest))
        {
            writer
                .discard_if_damaged(blob)
                .map_err(|error| of_store(&error))?;
        }
        packs.retain(|_, blob| writer.has_blob(&blob.digest));
        Ok(Packs(packs))
    }

    fn get(&self, digest: &Digest) -> Option<&Descriptor> {
        self.0.get(&DiffId(digest.clone()))
    }
}

fn order_one(
    helper: &Helper<'_>,
    writer: &Writer,
    packs: &Packs,
    number: usize,
    wanted: &Wanted<'_>,
) -> Result<MountOrder, Error> {
    let mut order = MountOrder {
        folder: HelperBuild::mount_folder(number).into(),
        listing: None,
        packs: Vec::new(),
        max_bytes: wanted.max_bytes,
    };
    let manifest = wanted
        .entry
        .as_ref()
        .map(|entry| writer.manifest(&entry.descriptor));
    let Some(Ok(manifest)) = manifest else {
        return Ok(order);
    };
    let Some((listing, stored)) = manifest.layers.split_first() else {
        return Ok(order);
    };
    let is_good = writer.verify(std::slice::from_ref(listing));
    if is_good.iter().all(|(_, state)| *state == BlobState::Good) {
        order.listing = Some(helper.add(&writer.blob_path(&listing.digest))?.into());
        let there: BTreeSet<&Digest> = packs.0.values().map(|pack| &pack.digest).collect();
        let file = |pack: &Descriptor| {
            let is_there = there.contains(&pack.digest);
            is_there.then(|| PathBuf::from(pack.digest.encoded()))
        };
        order.packs = stored.iter().map(file).collect();
    }
    Ok(order)
}

/// Takes what the program wrote into the store.
struct Put<'a> {
    job: &'a Job<'a>,
    keyed: &'a Keyed,
    built: &'a Built,
    writer: &'a Writer,
    packs: &'a Packs,
}

impl Put<'_> {
    /// Stores one mount and returns how many bytes are new; none where it is not stored.
    fn mount(
        &self,
        wanted: &Wanted<'_>,
        reported: &MountReport,
        out: &Path,
    ) -> Result<Option<u64>, Error> {
        let (name, mount) = (&self.keyed.image.name, &wanted.kept.name);
        let size = bytes(reported.size_bytes);
        let stored_bytes = wanted.record.bytes;
        match &reported.outcome {
            MountOutcome::Written if !wanted.continues && reported.size_bytes < stored_bytes => {
                self.job.talk.say(format_args!(
                    "{name}: cache mount `{mount}` is not saved: it began empty, and the store has more of it"
                ));
                if let Some(entry) = &wanted.entry {
                    annotate(self.job, entry, &wanted.record);
                }
                return Ok(None);
            }
            MountOutcome::Written => {}
            MountOutcome::TooLarge => {
                self.job.talk.say(format_args!(
                    "{name}: cache mount `{mount}` is not saved: it has {size}, more than {} ({})",
                    bytes(wanted.max_bytes),
                    wanted.limit
                ));
                let record = wanted.record.after_left_out(reported.size_bytes);
                match &wanted.entry {
                    Some(entry) => annotate(self.job, entry, &record),
                    None => self.entry(wanted, &record, Vec::new())?,
                }
                return Ok(None);
            }
            MountOutcome::Failed(error) => {
                self.job.talk.warn(format_args!(
                    "{name}: cache mount `{mount}` is not saved: {error}"
                ));
                return Ok(None);
            }
            MountOutcome::Empty | MountOutcome::Filled | MountOutcome::WasFilled => {
                return Ok(None);
            }
        }
        let (layers, new_bytes) = self.blobs(out)?;
        let record = MountRecord {
            bytes: reported.size_bytes,
            left_out_bytes: None,
            ..wanted.record
        };
        self.entry(wanted, &record, layers)?;
        self.job.talk.say(format_args!(
            "{name}: saved cache mount `{mount}`, {size} in {} files, {} of it new",
            reported.n_files,
            bytes(new_bytes)
        ));
        Ok(Some(new_bytes))
    }

    /// Takes the listing and the new packs, and returns them with those that the store has, and the
    /// size of what is new.
    fn blobs(&self, out: &Path) -> Result<(Vec<Descriptor>, u64), Error> {
        let path = out.join(LISTING_FILE);
        let listing = read_listing(&path);
        let listing = listing.map_err(|error| Error::new(exit_code::ENGINE, error))?;
        let text = listing.to_text();
        let digest = Digest::of(text.as_bytes());
        let mut new_bytes = 0;
        let mut adopt = |path: &Path, media_type: &str, digest: &Digest, size: u64| {
            let adopted = self.writer.adopt_file(path, None);
            let (blob, blob_bytes) = adopted.map_err(|error| of_store(&error))?;
            new_bytes += blob_bytes;
            let blob = Descriptor::new(media_type, blob, blob_bytes)
                .with_annotation(UNCOMPRESSED, digest.to_string())
                .with_annotation(UNCOMPRESSED_SIZE, size.to_string());
            Ok::<_, Error>(blob)
        };
        let size = text.len() as u64;
        let mut blobs = vec![adopt(
            &path,
            media_type::CACHE_MOUNT_LISTING,
            &digest,
            size,
        )?];
        for pack in &listing.packs {
            if let Some(known) = self.packs.get(&pack.digest) {
                blobs.push(known.clone());
                continue;
            }
            let path = out.join(pack_file(&pack.digest));
            let media_type = media_type::CACHE_MOUNT_PACK;
            blobs.push(adopt(&path, media_type, &pack.digest, pack.size)?);
        }
        Ok((blobs, new_bytes))
    }

    fn entry(
        &self,
        wanted: &Wanted<'_>,
        record: &MountRecord,
        layers: Vec<Descriptor>,
    ) -> Result<(), Error> {
        let config =
            serde_json::json!({ "mount": wanted.kept.name, "platform": self.keyed.platform });
        let config = config.to_string();
        let put = |error| of_store(&error);
        let config = self
            .writer
            .put_blob(media_type::CACHE_MOUNT_CONFIG, config.as_bytes())
            .map_err(put)?;
        let entry = Entry {
            kind: EntryKind::CacheMount,
            image: self.keyed.image.name.clone(),
            platform: self.keyed.platform.clone(),
            engine_class: "any".to_owned(),
            key_base: self.built.base_key.to_string(),
            key_full: self.built.full_key.to_string(),
            stage: None,
            mount: Some(wanted.kept.name.clone()),
            created: Timestamp::from(SystemTime::now()),
            steps: serde_json::json!([]),
            extra: BTreeMap::from([(RECORD_ANNOTATION.to_owned(), record_json(record))]),
        };
        let manifest = ImageManifest::new(config, layers);
        self.writer.put_entry(&entry, &manifest).map_err(put)?;
        Ok(())
    }
}
