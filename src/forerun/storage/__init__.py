"""Durable state behind narrow stores. SQL lives here and nowhere else."""
