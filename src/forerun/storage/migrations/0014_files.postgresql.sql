-- Packages and most objects are compressed already.
ALTER TABLE file_chunks ALTER COLUMN body SET STORAGE EXTERNAL;
