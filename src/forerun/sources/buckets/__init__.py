"""Buckets and their objects: content on disk by its hash, everything else in the database of messages.

What it promises: an object is there whole or not at all, whatever dies; a change and the notices it owes are one
transaction, and notices are in the outbox before the change is answered or are sent at the next start. Bodies are never held in
memory. Who may do what is asked in ``api``, with the bucket's policy; names of buckets are unique among all accounts.
``Objects.state`` tells whoever depends on an object whether it is still the same.
"""

from forerun.sources.buckets import errors
from forerun.sources.buckets.buckets import Buckets, Validate
from forerun.sources.buckets.checksums import (
    ALGORITHMS,
    COMPOSITE,
    FULL_OBJECT,
    allowed_type,
    default_type,
    well_formed,
)
from forerun.sources.buckets.collecting import Collector
from forerun.sources.buckets.content import Contents, Received, Source
from forerun.sources.buckets.listing import Listed, list_page
from forerun.sources.buckets.naming import may_be_name
from forerun.sources.buckets.notices import Notices
from forerun.sources.buckets.notifying import KINDS, PRINCIPAL, Actor, bucket_arn
from forerun.sources.buckets.objects import Objects, ObjectState, Wanted
from forerun.sources.buckets.uploads import Chosen, Uploads
from forerun.storage.buckets import Bucket, BucketStore
from forerun.storage.objects import About, Guard, StoredObject
from forerun.storage.uploads import Part, Upload

__all__ = [
    "ALGORITHMS",
    "COMPOSITE",
    "FULL_OBJECT",
    "KINDS",
    "PRINCIPAL",
    "About",
    "Actor",
    "Bucket",
    "BucketStore",
    "Buckets",
    "Chosen",
    "Collector",
    "Contents",
    "Guard",
    "Listed",
    "Notices",
    "ObjectState",
    "Objects",
    "Part",
    "Received",
    "Source",
    "StoredObject",
    "Upload",
    "Uploads",
    "Validate",
    "Wanted",
    "allowed_type",
    "bucket_arn",
    "default_type",
    "errors",
    "list_page",
    "may_be_name",
    "well_formed",
]
