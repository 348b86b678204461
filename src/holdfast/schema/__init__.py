"""The contract of a project's topics for programs in other languages: as AsyncAPI, and as types of TypeScript."""
